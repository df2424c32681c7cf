#include "runtime/data/dataset.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "runtime/error.hpp"
#include "runtime/random.hpp"

namespace weir {
namespace {

[[noreturn]] void refuse(const DatasetInput& input, const std::string& what) {
  throw Error(ErrorCode::invalid_data, fmt::format("input \"{}\": {}", input.name, what));
}

Dims without_trailing_ones(Dims dims, std::size_t keep) {
  while (dims.size() > keep && dims.back() == 1) dims.pop_back();
  return dims;
}

void check_shape(const DatasetInput& input, const SourceArray& array) {
  if (array.dims.empty()) refuse(input, array.source + " holds a single number; its first axis must count the samples");
  const Dims sample(array.dims.begin() + 1, array.dims.end());
  if (without_trailing_ones(sample, 0) != without_trailing_ones(input.dims, 0))
    refuse(input, fmt::format("a sample is {}, but {} holds samples of shape {} (its shape is {}: the count, then a "
                              "sample); only size-1 axes at the end may differ",
                              to_string(input.dims), array.source, to_string(sample), to_string(array.dims)));
  if (array.dims[0] == 0) refuse(input, array.source + " holds no samples");
}

/// Calls `function(pointer to the elements)` with the C++ type of the array. Half floats are their bits, HalfBits.
enum class HalfBits : std::uint16_t {};

template <class Function>
void visit(SourceType type, const std::byte* at, Function&& function) {
  switch (type) {
    case SourceType::boolean:
      return function(reinterpret_cast<const std::uint8_t*>(at), true);
    case SourceType::u8:
      return function(reinterpret_cast<const std::uint8_t*>(at), false);
    case SourceType::i8:
      return function(reinterpret_cast<const std::int8_t*>(at), false);
    case SourceType::i16:
      return function(reinterpret_cast<const std::int16_t*>(at), false);
    case SourceType::i32:
      return function(reinterpret_cast<const std::int32_t*>(at), false);
    case SourceType::i64:
      return function(reinterpret_cast<const std::int64_t*>(at), false);
    case SourceType::f16:
      return function(reinterpret_cast<const HalfBits*>(at), false);
    case SourceType::f32:
      return function(reinterpret_cast<const float*>(at), false);
    case SourceType::f64:
      return function(reinterpret_cast<const double*>(at), false);
  }
}

/// The first element outside the range of the destination, or the count.
template <class Source, class Destination>
std::size_t first_outside(const Source* values, std::size_t count) {
  using Limits = std::numeric_limits<Destination>;
  const auto low = static_cast<Source>(Limits::lowest()), high = static_cast<Source>(Limits::max());
  for (std::size_t i = 0; i < count; ++i) {
    const bool outside = values[i] < low || values[i] > high;
    if (outside && !(std::is_floating_point_v<Source> && std::isinf(static_cast<double>(values[i])))) return i;
  }
  return count;
}

template <class Source, class Destination>
void check_values(const DatasetInput& input, const SourceArray& array, std::size_t sample_size) {
  const std::size_t count = array.bytes.size() / sizeof(Source);
  const std::size_t at = first_outside<Source, Destination>(array.data<Source>(), count);
  if (at != count)
    refuse(input, fmt::format("sample {} of {} holds {}, which is outside the range of {}", at / sample_size,
                              array.source, array.data<Source>()[at], to_string(input.dtype)));
}

void check_type(const DatasetInput& input, const SourceArray& array, std::size_t sample_size) {
  if (input.dtype == DType::i32 && is_floating(array.type))
    refuse(input,
           fmt::format("wants i32, but {} holds {}; save whole numbers as integers (array.astype(\"int32\"); in CSV "
                       "without a decimal point)",
                       array.source, to_string(array.type)));
  if (input.dtype == DType::i32 && array.type == SourceType::i64)
    check_values<std::int64_t, std::int32_t>(input, array, sample_size);
  if (input.dtype == DType::f32 && array.type == SourceType::f64)
    check_values<double, float>(input, array, sample_size);
}

template <class Source, class Destination>
void convert(const Source* from, std::size_t count, Destination* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<Destination>(from[i]);
}

template <class Destination>
void convert(const HalfBits* from, std::size_t count, Destination* to) {
  for (std::size_t i = 0; i < count; ++i)
    to[i] = static_cast<Destination>(half_to_float(static_cast<std::uint16_t>(from[i])));
}

template <class Destination>
void convert_elements(SourceType type, const std::byte* from, std::size_t count, Destination* to) {
  visit(type, from, [&](const auto* values, bool boolean) {
    convert(values, count, to);
    if (boolean) std::for_each(to, to + count, [](Destination& value) { value = value != 0; });
  });
}

/// How many of the first rows follow each other in the file.
std::size_t run_length(std::span<const std::uint32_t> rows) {
  std::size_t length = 1;
  while (length < rows.size() && rows[length] == rows[length - 1] + 1) ++length;
  return length;
}

}  // namespace

void Dataset::bind(const DatasetInput& input, SourceArray array) {
  WEIR_CHECK(input.dtype == DType::f32 || input.dtype == DType::i32, "an input is f32 or i32");
  check_shape(input, array);
  const auto sample_size = static_cast<std::size_t>(element_count(input.dims));
  check_type(input, array, sample_size);
  const std::int64_t samples = array.dims[0];
  std::string source = array.source;
  add({input, std::move(source), std::make_shared<const SourceArray>(std::move(array)), 0, 0, sample_size}, samples);
}

void Dataset::bind(const DatasetInput& input, const RandomSamples& random, std::uint64_t seed) {
  if (random.samples < 1 || random.samples > std::numeric_limits<std::uint32_t>::max())
    refuse(input, fmt::format("\"random\" is {} samples; it must be 1 to 2^32 - 1", random.samples));
  if (input.dtype == DType::i32 && random.classes < 1)
    refuse(input, "random i32 samples need \"classes\": how many classes there are");
  if (input.dtype == DType::f32 && random.classes != 0)
    refuse(input, "\"classes\" is for i32 inputs; random f32 samples are uniform in [0, 1)");
  if (random.classes > std::numeric_limits<std::int32_t>::max())
    refuse(input, fmt::format("\"classes\" is {}; it must be 1 to 2^31 - 1", random.classes));
  const auto sample_size = static_cast<std::size_t>(element_count(input.dims));
  add({input, "random", nullptr, random.classes, random_key(seed, input.name), sample_size}, random.samples);
}

void Dataset::add(Column column, std::int64_t samples) {
  WEIR_CHECK(first_ == 0, "binding to the validation part of a split");
  if (has(column.input.name)) refuse(column.input, "has data already");
  if (!columns_.empty() && samples != count_) {
    const Column& other = columns_.front();
    refuse(column.input, fmt::format("{} holds {} samples, but {} holds {} for input \"{}\"; the counts must agree",
                                     column.source, samples, other.source, count_, other.input.name));
  }
  count_ = samples;
  columns_.push_back(std::move(column));
}

bool Dataset::has(std::string_view input) const {
  return std::any_of(columns_.begin(), columns_.end(),
                     [&](const Column& column) { return column.input.name == input; });
}

std::vector<std::string> Dataset::inputs() const {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.input.name);
  return names;
}

const Dataset::Column& Dataset::find(std::string_view input) const {
  for (const Column& column : columns_)
    if (column.input.name == input) return column;
  throw Error(ErrorCode::not_found, fmt::format("input \"{}\" has no data", input));
}

std::pair<Dataset, Dataset> Dataset::split(double fraction) const {
  if (!(fraction > 0 && fraction < 1))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("validation_split is {}; it must lie between 0 and 1", fraction));
  const auto kept = static_cast<std::int64_t>(std::floor(static_cast<double>(count_) * (1 - fraction)));
  if (kept < 1 || kept >= count_)
    throw Error(ErrorCode::invalid_data,
                fmt::format("validation_split {} of {} samples leaves {} for training and {} for "
                            "validation; each needs at least one",
                            fraction, count_, kept, count_ - kept));
  std::pair<Dataset, Dataset> parts(*this, *this);
  parts.first.count_ = kept;
  parts.second.first_ += kept;
  parts.second.count_ -= kept;
  return parts;
}

void Dataset::gather(std::span<const std::uint32_t> rows, std::string_view input, void* destination) const {
  for (std::uint32_t row : rows) WEIR_CHECK(row < count_, "a row outside the data");
  const Column& column = find(input);
  if (column.array) return gather_array(column, rows, destination);
  gather_random(column, rows, destination);
}

void Dataset::gather_array(const Column& column, std::span<const std::uint32_t> rows, void* destination) const {
  const SourceArray& array = *column.array;
  const std::size_t element_size = size_of(array.type);
  std::size_t done = 0;
  while (!rows.empty()) {
    const std::size_t run = run_length(rows);
    const std::size_t first = (static_cast<std::size_t>(first_) + rows[0]) * column.sample_size;
    const std::byte* from = array.bytes.data() + first * element_size;
    const std::size_t count = run * column.sample_size;
    if (column.input.dtype == DType::f32)
      convert_elements(array.type, from, count, static_cast<float*>(destination) + done);
    else
      convert_elements(array.type, from, count, static_cast<std::int32_t*>(destination) + done);
    done += count;
    rows = rows.subspan(run);
  }
}

void Dataset::gather_random(const Column& column, std::span<const std::uint32_t> rows, void* destination) const {
  const std::size_t size = column.sample_size;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::uint64_t sample = static_cast<std::uint64_t>(first_) + rows[i];
    if (column.input.dtype == DType::f32) {
      fill_uniform({static_cast<float*>(destination) + i * size, size}, column.key, sample, 0);
      continue;
    }
    auto* classes = static_cast<std::int32_t*>(destination) + i * size;
    for (std::size_t element = 0; element < size; ++element)
      classes[element] = static_cast<std::int32_t>(uniform_integer(
          column.key, sample, static_cast<std::uint32_t>(element), static_cast<std::uint32_t>(column.classes)));
  }
}

}  // namespace weir
