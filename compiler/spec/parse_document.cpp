// The JSON library's events turned into a tree with places, and its complaints into diagnostics.
#include <charconv>
#include <list>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "compiler/spec/document.hpp"
#include "compiler/spec/limits.hpp"
#include "compiler/spec/tokens.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

using json = nlohmann::json;

/// Builds the tree from the parser's events. A handler returns false to stop; then the reason is reported.
class DocumentBuilder : public nlohmann::json_sax<json> {
 public:
  DocumentBuilder(std::string_view text, Diagnostics& diagnostics)
      : text_(text), tokens_(text), locator_(text), diagnostics_(diagnostics) {}

  bool null() override { return add({}); }
  bool boolean(bool value) override {
    Element element;
    element.kind = Element::Kind::flag;
    element.flag = value;
    return add(std::move(element));
  }
  bool number_integer(number_integer_t) override { return add_number(); }
  bool number_unsigned(number_unsigned_t) override { return add_number(); }
  bool number_float(number_float_t, const string_t&) override { return add_number(); }
  bool string(string_t& value) override { return add(text_element(value)); }
  bool binary(binary_t&) override { return false; }

  bool key(string_t& value) override {
    const Place place = next_token();
    if (!fits(value, place)) return false;
    Frame& frame = stack_.back();
    const auto [first, is_new] = frame.keys.emplace(value, place);
    if (!is_new) report_duplicate(value, place, first->second);
    frame.discard = !is_new;
    frame.key = value;
    if (frame.keys.size() > limits::object_members)
      return stop("E0104", place, fmt::format("an object has more than {} keys", limits::object_members));
    if (is_new) frame.container->members.push_back({value, with_pointer(place, pointer_to(frame.pointer, value)), {}});
    return true;
  }

  bool start_object(std::size_t) override { return open(Element::Kind::object); }
  bool start_array(std::size_t) override { return open(Element::Kind::list); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override;

  Element root;

 private:
  struct Frame {
    Element* container;
    std::string pointer;
    std::unordered_map<std::string, Place> keys = {};
    std::string key = {};
    bool discard = false;  ///< the value of a key that was there before
    std::size_t start = 0;
  };

  static Element text_element(std::string& value) {
    Element element;
    element.kind = Element::Kind::text;
    element.text = std::move(value);
    return element;
  }

  static Place with_pointer(Place place, std::string pointer) {
    place.pointer = std::move(pointer);
    return place;
  }

  /// Moves over the next token and tells where it stands.
  Place next_token() {
    start_ = tokens_.start();
    Place place = locator_.at(start_);
    const Place end = locator_.at(tokens_.end());
    place.length = end.line == place.line ? end.column - place.column : 1;
    if (!stack_.empty()) place.pointer = stack_.back().pointer;
    return place;
  }

  std::string_view token() const { return text_.substr(start_, tokens_.position() - start_); }

  bool stop(std::string_view code, const Place& place, std::string message) {
    diagnostics_.error(code, place, std::move(message));
    return false;
  }

  bool fits(const std::string& value, const Place& place) {
    if (value.size() <= limits::string_bytes) return true;
    return stop("E0104", place,
                fmt::format("a string has {} bytes, at most {} are read", value.size(), limits::string_bytes));
  }

  void report_duplicate(const std::string& key, const Place& place, const Place& first) {
    auto& diagnostic = diagnostics_.error("E0103", with_pointer(place, pointer_to(stack_.back().pointer, key)),
                                          fmt::format("the key {} is there twice", quote(key)));
    diagnostic.notes.push_back(fmt::format("first given in line {}, column {}", first.line, first.column));
    diagnostic.help = "keep one of them";
  }

  Element* place_for(Element element) {
    if (stack_.empty()) return &(root = std::move(element));
    Frame& frame = stack_.back();
    if (frame.discard) return &(dropped_.emplace_back(std::move(element)));
    if (frame.container->is(Element::Kind::list)) return &frame.container->items.emplace_back(std::move(element));
    return &(frame.container->members.back().value = std::move(element));
  }

  std::string pointer_of_next() const {
    if (stack_.empty()) return "";
    const Frame& frame = stack_.back();
    const bool list = frame.container->is(Element::Kind::list);
    return pointer_to(frame.pointer, list ? std::to_string(frame.container->items.size()) : frame.key);
  }

  Element* append(Element element) {
    if (++values_ > limits::json_values) {
      stop("E0104", element.place, fmt::format("the file has more than {} values", limits::json_values));
      return nullptr;
    }
    return place_for(std::move(element));
  }

  bool add(Element element) {
    element.place = with_pointer(next_token(), pointer_of_next());
    if (!fits(element.text, element.place)) return false;
    return append(std::move(element)) != nullptr;
  }

  bool add_number() {
    Element element;
    element.place = with_pointer(next_token(), pointer_of_next());
    const std::string_view literal = token();
    element.kind =
        literal.find_first_of(".eE") == std::string_view::npos ? Element::Kind::integer : Element::Kind::number;
    const char *first = literal.data(), *last = first + literal.size();
    if (element.is(Element::Kind::integer) && std::from_chars(first, last, element.integer).ec != std::errc()) {
      diagnostics_.error("E0105", element.place, fmt::format("the integer {} does not fit 64 bits", literal)).help =
          "a real number of that size is written with an exponent, such as 1e20";
      return false;
    }
    const auto [end, error] = std::from_chars(first, last, element.number);
    WEIR_CHECK(end == last && error != std::errc::invalid_argument,
               "the parser took " + std::string(literal) + " as a number");
    if (error == std::errc::result_out_of_range)
      element.number = 0;  // closer to 0 than any double: the parser refuses the large ones
    return append(std::move(element)) != nullptr;
  }

  bool open(Element::Kind kind) {
    Element element;
    element.kind = kind;
    element.place = with_pointer(next_token(), pointer_of_next());
    if (stack_.size() >= limits::json_depth)
      return stop("E0104", element.place,
                  fmt::format("the file is nested more than {} levels deep", limits::json_depth));
    std::string pointer = element.place.pointer;
    Element* container = append(std::move(element));
    if (container) stack_.push_back({container, std::move(pointer), {}, {}, false, start_});
    return container != nullptr;
  }

  bool close() {
    const std::size_t end = (tokens_.start(), tokens_.end());
    const Frame& frame = stack_.back();
    Place& place = frame.container->place;
    const Place here = locator_.at(end);
    if (here.line == place.line)
      place.length = here.column - place.column;
    else
      place.length = characters(text_.substr(frame.start, text_.find_first_of("\r\n", frame.start) - frame.start));
    stack_.pop_back();
    return true;
  }

  static int characters(std::string_view text) {
    return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
  }

  Diagnostic& report_syntax(std::size_t start, std::size_t end, std::string_view reason);
  void report_invalid_string(std::size_t position, std::string_view reason);
  void report_end();

  std::string_view text_;
  Tokens tokens_;
  Locator locator_;
  Diagnostics& diagnostics_;
  std::vector<Frame> stack_;
  std::list<Element> dropped_;  ///< values of keys that were there before
  std::size_t start_ = 0, values_ = 0;
};

/// The parser's reason without its position and its repetition of the text: "invalid literal", "unexpected ',';
/// expected …".
std::string_view reason_of(std::string_view what) {
  if (const auto at = what.find(" - "); at != std::string_view::npos) what.remove_prefix(at + 3);
  return what.substr(0, what.find("; last read: "));
}

void DocumentBuilder::report_end() {
  std::size_t end = text_.size();
  while (end > 0 && is_space(text_[end - 1])) --end;
  const char* message = end == 0 ? "the file is empty" : "not valid JSON: the file ends too early";
  auto& diagnostic = diagnostics_.error("E0101", locator_.at(end), message);
  if (stack_.empty()) return;
  const Element& open = *stack_.back().container;
  diagnostic.notes.push_back(fmt::format("the {} that starts in line {}, column {} is not closed",
                                         open.is(Element::Kind::list) ? "list" : "object", open.place.line,
                                         open.place.column));
}

Diagnostic& DocumentBuilder::report_syntax(std::size_t start, std::size_t end, std::string_view reason) {
  Place place = locator_.at(start);
  const Place last = locator_.at(std::max(end, start + 1));
  place.length = last.line == place.line ? std::max(1, last.column - place.column) : 1;
  if (!stack_.empty()) place.pointer = stack_.back().pointer;
  return diagnostics_.error("E0101", place, fmt::format("not valid JSON: {}", reason));
}

void DocumentBuilder::report_invalid_string(std::size_t position, std::string_view reason) {
  const std::size_t start = tokens_.start_of_token_before(position);
  if (reason.find("missing closing quote") != std::string_view::npos ||
      reason.find("U+000A") != std::string_view::npos) {
    const std::size_t end = std::min(text_.find_first_of("\r\n", start), text_.size());
    report_syntax(start, end, "the string is not closed on its line");
  } else {
    report_syntax(std::max(start, position - 1), position, reason);
  }
}

bool DocumentBuilder::parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
  const std::string_view what = error.what();
  const std::string_view reason = reason_of(what);
  const auto starts = [&](std::string_view beginning) { return reason.starts_with(beginning); };
  if (what.find("json.exception.out_of_range") != std::string_view::npos) {
    const Place place = next_token();
    return stop("E0105", place, fmt::format("the number {} is beyond the range of a 64-bit float", token()));
  }
  const std::size_t end = std::min(position, text_.size());
  if (starts("invalid string")) {
    report_invalid_string(end, reason);
  } else if (starts("invalid comment; missing")) {
    tokens_.start();
    report_syntax(tokens_.last_comment(), tokens_.last_comment() + 2, "the comment is not closed");
  } else if (position > text_.size()) {
    report_end();
  } else {
    const std::size_t start = tokens_.start_of_token_before(end - starts("invalid number"), starts("invalid"));
    if (starts("invalid literal")) {
      const std::size_t after = start + Tokens(text_.substr(start)).end();
      report_syntax(start, after, fmt::format("unexpected {}", text_.substr(start, after - start))).help =
          "JSON has strings in double quotes (keys too), finite numbers, lists, objects, true, false and null";
    } else {
      Diagnostic& diagnostic = report_syntax(start, end, reason);
      if (starts("unexpected ']'") || starts("unexpected '}'"))
        diagnostic.help = "JSON allows no comma before a closing bracket";
    }
  }
  return false;
}

/// Text that no JSON file may hold, wherever it stands: found before parsing, since the parser looks into strings only.
bool check_characters(std::string_view text, Diagnostics& diagnostics) {
  Locator locator(text);
  if (text.starts_with("\xEF\xBB\xBF")) {
    diagnostics.error("E0102", locator.at(0), "the file starts with a byte order mark").help =
        "save it as UTF-8 without a byte order mark";
    return false;
  }
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const std::size_t length = utf8_sequence(text, at);
    if (length > 0 && (byte >= 0x20 || is_space(text[at]))) {
      at += length;
      continue;
    }
    const char* what =
        length == 0 ? "the byte 0x{:02x} is no valid UTF-8" : "the control character 0x{:02x} is not allowed";
    auto& diagnostic = diagnostics.error("E0102", locator.at(at), fmt::format(fmt::runtime(what), byte));
    diagnostic.help = length == 0 ? "save the file as UTF-8" : "in a string it is written as an escape";
    return false;
  }
  return true;
}

}  // namespace

std::optional<Element> parse_document(std::string_view text, Diagnostics& diagnostics) {
  if (text.size() > limits::spec_bytes) {
    diagnostics.error("E0104", {},
                      fmt::format("the file has {} bytes, at most {} are read", text.size(), limits::spec_bytes));
    return std::nullopt;
  }
  if (!check_characters(text, diagnostics)) return std::nullopt;
  DocumentBuilder builder(text, diagnostics);
  const bool whole =
      json::sax_parse(text.data(), text.data() + text.size(), &builder, nlohmann::detail::input_format_t::json,
                      /*strict=*/true, /*ignore_comments=*/true);
  if (!whole) return std::nullopt;
  return std::move(builder.root);
}

}  // namespace weir
