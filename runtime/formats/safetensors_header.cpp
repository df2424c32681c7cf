#include "runtime/formats/safetensors_header.hpp"

#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::size_t most_tensors = 200'000;
constexpr std::size_t largest_rank = 12;

/// Answers nlohmann's events. A place is where in {name: {dtype, shape: [], data_offsets: []}} the parser stands.
class HeaderEvents {
 public:
  using Json = nlohmann::json;

  explicit HeaderEvents(const std::string& source_name) : source_name_(source_name) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("true or false"); }
  bool number_float(Json::number_float_t, const std::string& text) { unexpected("the number " + text); }
  bool number_integer(Json::number_integer_t number) { unexpected(fmt::format("the number {}", number)); }
  bool binary(Json::binary_t&) { unexpected("binary data"); }

  bool number_unsigned(Json::number_unsigned_t number) {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected(fmt::format("the number {}", number));
    if (place_ == Place::offsets) return add_offset(number);
    if (number > std::uint64_t{1} << 40) fail(fmt::format("has a dimension of {}; at most 2^40 are allowed", number));
    if (entry().dims.size() == largest_rank) fail(fmt::format("has more than {} dimensions", largest_rank));
    entry().dims.push_back(static_cast<std::int64_t>(number));
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = std::move(text);
    } else if (place_ == Place::tensor && key_ == "dtype") {
      entry().dtype = std::move(text);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header) {
      place_ = key_ == "__metadata__" ? Place::metadata : Place::tensor;
      if (place_ == Place::tensor) start_tensor();
    } else {
      unexpected("an object");
    }
    keys_.clear();
    return true;
  }

  bool key(std::string& text) {
    auto& seen = place_ == Place::header ? names_ : keys_;
    if (!seen.insert(text).second) fail(fmt::format("has \"{}\" twice", text));
    if (place_ == Place::tensor && text != "dtype" && text != "shape" && text != "data_offsets")
      fail(fmt::format("has the unknown key \"{}\"", text));
    key_ = std::move(text);
    return true;
  }

  bool end_object() {
    if (place_ == Place::tensor && keys_.size() != 3) fail("needs dtype, shape and data_offsets");
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::tensor || key_ == "dtype") unexpected("a list");
    place_ = key_ == "shape" ? Place::shape : Place::offsets;
    offsets_ = 0;
    return true;
  }

  bool end_array() {
    if (place_ == Place::offsets && offsets_ != 2) fail("needs two data_offsets");
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    refuse(fmt::format("the header is not valid JSON at byte {}", position));
  }

 private:
  enum class Place { outside, header, metadata, tensor, shape, offsets };

  SafetensorsEntry& entry() { return header_.entries.back(); }

  void start_tensor() {
    if (header_.entries.size() == most_tensors)
      throw Error(ErrorCode::limit_exceeded, fmt::format("{}: has more than {} tensors", source_name_, most_tensors));
    header_.entries.emplace_back();
    entry().name = key_;
  }

  bool add_offset(std::uint64_t number) {
    if (offsets_ == 2) fail("has more than two data_offsets");
    (offsets_++ == 0 ? entry().begin : entry().end) = number;
    return true;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::invalid_data, source_name_ + ": " + what);
  }

  /// Of the tensor at hand, or of the header.
  [[noreturn]] void fail(const std::string& what) const {
    const bool in_tensor = place_ == Place::tensor || place_ == Place::shape || place_ == Place::offsets;
    refuse((in_tensor ? "tensor \"" + header_.entries.back().name + "\" " : "the header ") + what);
  }

  [[noreturn]] void unexpected(const std::string& what) const {
    static constexpr std::string_view expected[] = {"an object", "an object", "a string", "", "a size", "an offset"};
    std::string_view wanted = expected[static_cast<std::size_t>(place_)];
    if (place_ == Place::tensor) wanted = key_ == "dtype" ? "a string" : "a list";
    fail(fmt::format("has {} where {} is expected{}", what, wanted, key_.empty() ? "" : " (\"" + key_ + "\")"));
  }

  const std::string& source_name_;
  SafetensorsHeader header_;
  Place place_ = Place::outside;
  std::string key_;
  std::unordered_set<std::string> names_, keys_;
  int offsets_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& source_name) {
  const auto refuse = [&](const std::string& what) { throw Error(ErrorCode::invalid_data, source_name + ": " + what); };
  if (!text.starts_with('{')) refuse("the header does not start with '{'; is this a safetensors file?");
  const std::size_t end = text.find_last_not_of(' ');
  if (text[end] != '}') refuse("the header does not end with '}' and spaces");
  HeaderEvents events(source_name);
  nlohmann::json::sax_parse(text.begin(), text.end(), &events);
  return events.take();
}

}  // namespace weir
