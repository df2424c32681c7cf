// A set of samples for named inputs: arrays in their files' types plus what it takes to turn chosen rows into the dense
// f32 or i32 batch that a session reads. Reads no file: the caller hands over arrays (array.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/data/array.hpp"
#include "runtime/tensor.hpp"

namespace weir {

/// What a model wants for an input: the shape of one sample, f32 or i32.
struct DatasetInput {
  std::string name;
  Dims dims;
  DType dtype = DType::f32;
};

/// Samples out of nowhere: f32 uniform in [0, 1), i32 uniform in 0 to classes - 1; functions of (seed, input, sample).
struct RandomSamples {
  std::int64_t samples = 0;
  std::int64_t classes = 0;  ///< for i32 inputs, which need it; 0 for f32
};

/// Copying is cheap: copies and parts share the arrays. Const members may be called from several threads.
class Dataset {
 public:
  /// Binds an array whose shape is the sample count, then the input's shape; size-1 axes at the end may be missing or
  /// extra. Integers are converted by value to f32; an i32 input takes integers only, each within its range.
  /// Throws Error(invalid_data) that names the input and the file; also when the sample counts of two inputs differ.
  void bind(const DatasetInput& input, SourceArray array);
  void bind(const DatasetInput& input, const RandomSamples& random, std::uint64_t seed);

  std::int64_t samples() const { return count_; }  ///< 0 as long as nothing is bound
  bool has(std::string_view input) const;
  std::vector<std::string> inputs() const;  ///< in the order in which they were bound

  /// {train, validation}: validation is the last part in file order, train keeps floor(samples * (1 - fraction)).
  /// Throws Error(invalid_data) if a part would be empty; fraction lies in (0, 1), else Error(invalid_argument).
  std::pair<Dataset, Dataset> split(double fraction) const;

  /// Writes the samples `rows` (each below samples()) of `input` one after the other, dense, in the input's dtype.
  /// `destination` holds rows.size() samples. Allocates nothing.
  void gather(std::span<const std::uint32_t> rows, std::string_view input, void* destination) const;

 private:
  struct Column {
    DatasetInput input;
    std::string source;                        ///< the file, or "random"
    std::shared_ptr<const SourceArray> array;  ///< null: random
    std::int64_t classes = 0;
    std::uint64_t key = 0;
    std::size_t sample_size = 0;  ///< elements
  };

  void add(Column column, std::int64_t samples);
  const Column& find(std::string_view input) const;
  void gather_array(const Column& column, std::span<const std::uint32_t> rows, void* destination) const;
  void gather_random(const Column& column, std::span<const std::uint32_t> rows, void* destination) const;

  std::vector<Column> columns_;
  std::int64_t first_ = 0, count_ = 0;  ///< the part of the arrays' samples that this set has
};

}  // namespace weir
