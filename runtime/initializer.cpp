#include "runtime/initializer.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "runtime/error.hpp"
#include "runtime/random.hpp"

namespace weir {
namespace {

/// The standard deviation of a standard normal cut at two standard deviations.
constexpr double truncated_deviation = 0.87962566103423978;

/// What a type draws from, after the fans are known.
struct Distribution {
  enum class Kind { constant, uniform, normal, truncated_normal } kind = Kind::constant;
  double a = 0;  ///< the constant, the lower bound or the mean
  double b = 0;  ///< the upper bound or the standard deviation
};

struct Scaling {
  double scale;
  std::string mode, distribution;
};

double number_or(const Initializer& initializer, const std::string& key, double otherwise) {
  const auto found = initializer.numbers.find(key);
  return found == initializer.numbers.end() ? otherwise : found->second;
}

std::string word_or(const Initializer& initializer, const std::string& key, const std::string& otherwise) {
  const auto found = initializer.words.find(key);
  return found == initializer.words.end() ? otherwise : found->second;
}

[[noreturn]] void refuse(std::string_view place, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", place, what));
}

std::string listed(const std::vector<std::string_view>& words) {
  std::string text;
  for (std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
  return text;
}

std::string known_types() {
  std::vector<std::string_view> types;
  for (const InitializerType& record : initializer_types()) types.push_back(record.type);
  return listed(types);
}

const InitializerType& find_record(const std::string& type, std::string_view place) {
  for (const InitializerType& record : initializer_types())
    if (record.type == type) return record;
  if (type == "orthogonal" || type == "identity")
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: initializer \"{}\" is not supported yet; supported: {}", place, type, known_types()));
  refuse(place, fmt::format("unknown initializer \"{}\"; known: {}", type, known_types()));
}

void check_key(const std::string& type, const std::string& key, const std::vector<std::string_view>& allowed,
               std::string_view place) {
  if (std::find(allowed.begin(), allowed.end(), key) == allowed.end())
    refuse(place, fmt::format("initializer \"{}\" takes no \"{}\"", type, key));
}

void check_word(const Initializer& initializer, const std::string& key, const std::vector<std::string_view>& allowed,
                std::string_view place) {
  const auto found = initializer.words.find(key);
  if (found == initializer.words.end()) return;
  if (std::find(allowed.begin(), allowed.end(), found->second) == allowed.end())
    refuse(place, fmt::format("{} \"{}\" of initializer \"{}\" is unknown; known: {}", key, found->second,
                              initializer.type, listed(allowed)));
}

void check_ranges(const Initializer& initializer, std::string_view place) {
  for (const auto& [key, value] : initializer.numbers)
    if (!std::isfinite(value))
      refuse(place, fmt::format("{} of initializer \"{}\" is not finite", key, initializer.type));
  if (number_or(initializer, "stddev", 0.05) < 0)
    refuse(place, fmt::format("stddev is {}; it must be 0 or more", initializer.numbers.at("stddev")));
  if (number_or(initializer, "scale", 1) <= 0)
    refuse(place, fmt::format("scale is {}; it must be more than 0", initializer.numbers.at("scale")));
  const double low = number_or(initializer, "minval", -0.05), high = number_or(initializer, "maxval", 0.05);
  if (low > high) refuse(place, fmt::format("minval {} is above maxval {}", low, high));
}

/// The named special cases of variance scaling.
Scaling scaling_of(const Initializer& initializer) {
  if (initializer.type == "variance_scaling")
    return {number_or(initializer, "scale", 1), word_or(initializer, "mode", "fan_in"),
            word_or(initializer, "distribution", "truncated_normal")};
  const std::string family = initializer.type.substr(0, initializer.type.find('_'));
  const std::string distribution = initializer.type.ends_with("_uniform") ? "uniform" : "truncated_normal";
  return {family == "he" ? 2.0 : 1.0, family == "glorot" ? "fan_avg" : "fan_in", distribution};
}

/// variance = scale / max(1, fan); a uniform on [-l, l] has variance l^2 / 3.
Distribution scaled_distribution(const Scaling& scaling, const Fans& of) {
  const double fan = scaling.mode == "fan_in" ? of.in : scaling.mode == "fan_out" ? of.out : (of.in + of.out) / 2;
  const double variance = scaling.scale / std::max(1.0, fan);
  const double limit = std::sqrt(3 * variance);
  if (scaling.distribution == "uniform") return {Distribution::Kind::uniform, -limit, limit};
  if (scaling.distribution == "untruncated_normal") return {Distribution::Kind::normal, 0, std::sqrt(variance)};
  return {Distribution::Kind::truncated_normal, 0, std::sqrt(variance) / truncated_deviation};
}

Distribution distribution_of(const Initializer& initializer, const Dims& dims) {
  using Kind = Distribution::Kind;
  const std::string& type = initializer.type;
  if (type == "zeros") return {Kind::constant, 0, 0};
  if (type == "ones") return {Kind::constant, 1, 0};
  if (type == "constant") return {Kind::constant, number_or(initializer, "value", 0), 0};
  if (type == "random_uniform")
    return {Kind::uniform, number_or(initializer, "minval", -0.05), number_or(initializer, "maxval", 0.05)};
  if (type == "random_normal" || type == "truncated_normal")
    return {type == "random_normal" ? Kind::normal : Kind::truncated_normal, number_or(initializer, "mean", 0),
            number_or(initializer, "stddev", 0.05)};
  return scaled_distribution(scaling_of(initializer), fans(dims));
}

void fill(std::span<float> values, const Distribution& from, std::uint64_t key) {
  using Kind = Distribution::Kind;
  const double a = from.a, b = from.b;
  switch (from.kind) {
    case Kind::constant:
      std::fill(values.begin(), values.end(), static_cast<float>(a));
      return;
    case Kind::uniform:
      fill_uniform(values, key, 0, 0);
      for (float& value : values) value = static_cast<float>(a + (b - a) * value);
      return;
    case Kind::normal:
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(a + b * normal(key, 0, i));
      return;
    case Kind::truncated_normal:
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(a + b * truncated_normal(key, i));
  }
}

}  // namespace

const std::vector<InitializerType>& initializer_types() {
  static const std::vector<InitializerType> records = {
      {"zeros", {}, {}},
      {"ones", {}, {}},
      {"constant", {"value"}, {}},
      {"random_uniform", {"minval", "maxval"}, {}},
      {"random_normal", {"mean", "stddev"}, {}},
      {"truncated_normal", {"mean", "stddev"}, {}},
      {"variance_scaling", {"scale"}, {"mode", "distribution"}},
      {"glorot_uniform", {}, {}},
      {"glorot_normal", {}, {}},
      {"he_uniform", {}, {}},
      {"he_normal", {}, {}},
      {"lecun_uniform", {}, {}},
      {"lecun_normal", {}, {}},
  };
  return records;
}

Fans fans(const Dims& dims) {
  if (dims.empty()) return {};
  if (dims.size() == 1) return {static_cast<double>(dims[0]), static_cast<double>(dims[0])};
  double window = 1;
  for (std::size_t i = 0; i + 2 < dims.size(); ++i) window *= static_cast<double>(dims[i]);
  return {window * static_cast<double>(dims[dims.size() - 2]), window * static_cast<double>(dims.back())};
}

void check_initializer(const Initializer& initializer, std::string_view place) {
  const InitializerType& record = find_record(initializer.type, place);
  for (const auto& entry : initializer.numbers) check_key(initializer.type, entry.first, record.numbers, place);
  for (const auto& entry : initializer.words) check_key(initializer.type, entry.first, record.words, place);
  check_word(initializer, "mode", {"fan_in", "fan_out", "fan_avg"}, place);
  check_word(initializer, "distribution", {"truncated_normal", "untruncated_normal", "uniform"}, place);
  check_ranges(initializer, place);
}

Tensor initial_value(const Initializer& initializer, const Dims& dims, std::uint64_t seed,
                     std::string_view parameter_name) {
  check_initializer(initializer, parameter_name);
  Tensor tensor(DType::f32, dims);
  fill({tensor.data<float>(), static_cast<std::size_t>(tensor.count())}, distribution_of(initializer, dims),
       random_key(seed, parameter_name));
  return tensor;
}

}  // namespace weir
