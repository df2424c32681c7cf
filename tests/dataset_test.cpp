#include "runtime/data/dataset.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "runtime/data/batches.hpp"
#include "runtime/random.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

template <class T>
SourceArray array_of(SourceType type, Dims dims, const std::vector<T>& values, std::string source = "x.npy") {
  SourceArray array{type, std::move(dims), std::vector<std::byte>(values.size() * sizeof(T)), std::move(source)};
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  REQUIRE(static_cast<std::size_t>(element_count(array.dims)) == values.size());
  return array;
}

template <class T>
std::vector<T> gathered(const Dataset& data, const std::string& input, const std::vector<std::uint32_t>& rows,
                        std::size_t sample_size) {
  std::vector<T> values(rows.size() * sample_size);
  data.gather(rows, input, values.data());
  return values;
}

template <class T>
Dataset bound(const DatasetInput& input, SourceType type, Dims dims, const std::vector<T>& values) {
  Dataset data;
  data.bind(input, array_of(type, std::move(dims), values));
  return data;
}

template <class T>
std::string refusal(const DatasetInput& input, SourceType type, Dims dims, const std::vector<T>& values) {
  return message_of([&] { bound(input, type, std::move(dims), values); });
}

bool contains(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CAPTURE(part);
  CHECK(message.find(part) != std::string::npos);
  return message.find(part) != std::string::npos;
}

const DatasetInput number{"x", {}, DType::f32};
const DatasetInput label{"label", {}, DType::i32};

template <class T>
void check_conversion(SourceType type, const std::vector<T>& values, const std::vector<float>& expected) {
  const Dataset data = bound(number, type, {static_cast<std::int64_t>(values.size())}, values);
  std::vector<std::uint32_t> rows(values.size());
  std::iota(rows.begin(), rows.end(), 0u);
  CHECK(gathered<float>(data, "x", rows, 1) == expected);
}

}  // namespace

TEST_CASE("every element type reaches an f32 input by value") {
  check_conversion<std::uint8_t>(SourceType::u8, {0, 127, 255}, {0, 127, 255});
  check_conversion<std::int8_t>(SourceType::i8, {-128, 127}, {-128, 127});
  check_conversion<std::int16_t>(SourceType::i16, {-32768, 32767}, {-32768, 32767});
  check_conversion<std::int32_t>(SourceType::i32, {-5, 1 << 24}, {-5, 16777216});
  check_conversion<std::int64_t>(SourceType::i64, {-5, 1ll << 40}, {-5, 0x1p40f});
  check_conversion<std::uint16_t>(SourceType::f16, {0x3C00, 0xC000}, {1, -2});
  check_conversion<float>(SourceType::f32, {1.25f, -3}, {1.25f, -3});
  check_conversion<double>(SourceType::f64, {1.25, 0.1}, {1.25f, 0.1f});
  check_conversion<std::uint8_t>(SourceType::boolean, {0, 1, 2}, {0, 1, 1});
}

TEST_CASE("rows come in the order asked for, repeated and contiguous ones too") {
  const Dataset data =
      bound<std::uint8_t>({"x", {2}, DType::f32}, SourceType::u8, {4, 2}, {0, 1, 10, 11, 20, 21, 30, 31});
  CHECK(gathered<float>(data, "x", {3, 0, 1, 2, 2}, 2) == std::vector<float>{30, 31, 0, 1, 10, 11, 20, 21, 20, 21});
  CHECK(gathered<float>(data, "x", {}, 2).empty());
}

TEST_CASE("integers reach an i32 input, and one outside its range is an error, never wrapped") {
  const Dataset data = bound<std::int64_t>(label, SourceType::i64, {2}, {2147483647, -2147483648ll});
  CHECK(gathered<std::int32_t>(data, "label", {0, 1}, 1) ==
        std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()});
  CHECK(contains(refusal<std::int64_t>(label, SourceType::i64, {1}, {-2147483649ll}), "holds -2147483649, which"));
  const std::string message = refusal<std::int64_t>(label, SourceType::i64, {3}, {0, 2147483648ll, 1});
  CHECK(contains(message, "input \"label\": sample 1 of x.npy holds 2147483648, which is outside the range of i32"));
}

TEST_CASE("floats for an i32 input are an error even where they are whole") {
  CHECK(contains(refusal<float>(label, SourceType::f32, {1}, {300.0f}), "wants i32, but x.npy holds f32"));
  CHECK(contains(refusal<double>(label, SourceType::f64, {1}, {3.0}), "save whole numbers as integers"));
}

TEST_CASE("a double too large for f32 is an error; NaN and infinity pass") {
  CHECK(contains(refusal<double>(number, SourceType::f64, {1}, {-1e39}), "outside the range of f32"));
  CHECK(contains(refusal<double>(number, SourceType::f64, {2}, {0, 1e39}), "sample 1 of x.npy holds 1e+39"));
  const double infinity = std::numeric_limits<double>::infinity();
  const Dataset data =
      bound<double>(number, SourceType::f64, {2}, {infinity, std::numeric_limits<double>::quiet_NaN()});
  const auto values = gathered<float>(data, "x", {0, 1}, 1);
  CHECK(values[0] == std::numeric_limits<float>::infinity());
  CHECK(values[1] != values[1]);
}

TEST_CASE("size-1 axes at the end may be missing or extra and nothing else is reshaped") {
  const std::vector<float> values(8);
  const DatasetInput image{"x", {2, 2, 1}, DType::f32};
  for (const Dims& dims : {Dims{2, 2, 2}, Dims{2, 2, 2, 1}, Dims{2, 2, 2, 1, 1}})
    CHECK(bound(image, SourceType::f32, dims, values).samples() == 2);
  for (const Dims& dims : {Dims{2, 4}, Dims{2, 1, 2, 2}, Dims{1, 2, 4}, Dims{8}})
    CHECK(contains(refusal(image, SourceType::f32, dims, values), "a sample is [2, 2, 1], but x.npy holds samples of"));
  CHECK(bound(number, SourceType::f32, {8, 1}, values).samples() == 8);
  CHECK(contains(refusal(number, SourceType::f32, {4, 2}, values), "samples of shape [2] (its shape is [4, 2]"));
}

TEST_CASE("a file without a sample axis or without samples is an error") {
  CHECK(contains(refusal<float>(number, SourceType::f32, {}, {1}), "its first axis must count the samples"));
  CHECK(contains(refusal<float>(number, SourceType::f32, {0}, {}), "x.npy holds no samples"));
}

TEST_CASE("one sample is a data set") {
  const Dataset data = bound<float>(number, SourceType::f32, {1}, {4});
  CHECK(data.samples() == 1);
  CHECK(gathered<float>(data, "x", {0}, 1) == std::vector<float>{4});
}

TEST_CASE("different sample counts are an error that names both inputs and both counts") {
  Dataset data = bound<float>(number, SourceType::f32, {3}, {1, 2, 3});
  const std::string message = message_of([&] {
    data.bind(label, array_of<std::int32_t>(SourceType::i32, {2}, {1, 2}, "y.npy"));
  });
  CHECK(contains(message, "input \"label\": y.npy holds 2 samples, but x.npy holds 3 for input \"x\""));
  CHECK(contains(message_of([&] {
                   data.bind(number, array_of<float>(SourceType::f32, {3}, {1, 2, 3}));
                 }),
                 "has data already"));
  CHECK(contains(message_of([&] { gathered<float>(data, "label", {0}, 1); }), "input \"label\" has no data"));
  CHECK(data.inputs() == std::vector<std::string>{"x"});
}

TEST_CASE("validation takes the last part and train keeps the floor of N(1 - v)") {
  const Dataset data = bound<float>(number, SourceType::f32, {10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto [train, validation] = data.split(0.25);
  CHECK(train.samples() == 7);
  CHECK(validation.samples() == 3);
  CHECK(gathered<float>(train, "x", {0, 6}, 1) == std::vector<float>{0, 6});
  CHECK(gathered<float>(validation, "x", {0, 2}, 1) == std::vector<float>{7, 9});
  CHECK(data.split(0.1).first.samples() == 9);
}

TEST_CASE("a split that leaves nothing is an error") {
  const Dataset data = bound<float>(number, SourceType::f32, {2}, {0, 1});
  CHECK(contains(message_of([&] { data.split(0.9); }), "leaves 0 for training and 2 for validation"));
  CHECK(contains(message_of([&] { data.split(0.0); }), "must lie between 0 and 1"));
  CHECK(contains(message_of([&] { data.split(1.0); }), "must lie between 0 and 1"));
}

TEST_CASE("random samples are functions of seed, input and sample") {
  Dataset data, again, other;
  const DatasetInput image{"image", {5, 3}, DType::f32};
  data.bind(image, RandomSamples{100, 0}, 7);
  again.bind(image, RandomSamples{200, 0}, 7);
  other.bind(image, RandomSamples{100, 0}, 8);
  const auto values = gathered<float>(data, "image", {99, 3}, 15);
  CHECK(values == gathered<float>(again, "image", {99, 3}, 15));
  CHECK(values != gathered<float>(other, "image", {99, 3}, 15));
  CHECK(std::all_of(values.begin(), values.end(), [](float value) { return value >= 0 && value < 1; }));
  const Dataset validation = data.split(0.5).second;
  CHECK(gathered<float>(validation, "image", {49}, 15) == gathered<float>(data, "image", {99}, 15));
}

TEST_CASE("random labels take every class") {
  Dataset data;
  data.bind(label, RandomSamples{1000, 3}, 7);
  std::vector<std::uint32_t> rows(1000);
  std::iota(rows.begin(), rows.end(), 0u);
  const auto labels = gathered<std::int32_t>(data, "label", rows, 1);
  for (std::int32_t value : {0, 1, 2}) CHECK(std::count(labels.begin(), labels.end(), value) > 250);
  CHECK(std::count_if(labels.begin(), labels.end(), [](std::int32_t value) { return value < 0 || value > 2; }) == 0);
}

TEST_CASE("wrong random samples are refused") {
  Dataset data;
  CHECK(contains(message_of([&] { data.bind(label, RandomSamples{10, 0}, 0); }), "need \"classes\""));
  CHECK(contains(message_of([&] { data.bind(number, RandomSamples{10, 3}, 0); }), "\"classes\" is for i32"));
  CHECK(contains(message_of([&] { data.bind(number, RandomSamples{0, 0}, 0); }), "\"random\" is 0 samples"));
  CHECK(contains(message_of([&] { data.bind(label, RandomSamples{10, 1ll << 31}, 0); }), "2^31 - 1"));
}

TEST_CASE("an epoch in file order is full batches and the short rest") {
  const Batches batches(10, {4, false, false, 0});
  CHECK(batches.count() == 3);
  CHECK(batches.last_size() == 2);
  CHECK(batches.samples() == 10);
  CHECK(std::ranges::equal(batches.batch(0), std::vector<std::uint32_t>{0, 1, 2, 3}));
  CHECK(std::ranges::equal(batches.batch(2), std::vector<std::uint32_t>{8, 9}));
  CHECK(Batches(8, {4, false, false, 0}).last_size() == 4);
}

TEST_CASE("drop_remainder leaves the short batch out and is an error if nothing remains") {
  const Batches batches(10, {4, false, true, 0});
  CHECK(batches.count() == 2);
  CHECK(batches.samples() == 8);
  CHECK(contains(message_of([] { Batches(3, {4, false, true, 0}); }), "3 samples are fewer than batch_size 4"));
  CHECK(contains(message_of([] { Batches(3, {0, false, false, 0}); }), "batch_size is 0"));
  CHECK(contains(message_of([] { Batches(0, {4, false, false, 0}); }), "no samples"));
  CHECK(contains(message_of([] { Batches(1ll << 32, {4, false, false, 0}); }), "more than 2^32 - 1"));
}

TEST_CASE("shuffling shows every row once an epoch, in another order each epoch, the same for the same seed") {
  const auto rows_of = [](std::uint64_t seed, std::uint64_t epoch) {
    Batches batches(103, {10, true, false, seed});
    batches.begin_epoch(epoch);
    std::vector<std::uint32_t> rows;
    for (std::int64_t i = 0; i < batches.count(); ++i)
      rows.insert(rows.end(), batches.batch(i).begin(), batches.batch(i).end());
    return rows;
  };
  CHECK(rows_of(1, 0) == rows_of(1, 0));
  CHECK(rows_of(1, 0) != rows_of(1, 1));
  CHECK(rows_of(1, 0) != rows_of(2, 0));
  auto rows = rows_of(1, 5);
  std::sort(rows.begin(), rows.end());
  for (std::uint32_t i = 0; i < 103; ++i) CHECK(rows[i] == i);
}
