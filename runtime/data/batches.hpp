// Which samples a step sees: the order of an epoch cut into batches. A batch is a function of (seed, epoch, index), so
// a run can start in the middle of an epoch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weir {

struct BatchOptions {
  std::int64_t batch_size = 32;
  bool shuffle = false;         ///< false: file order
  bool drop_remainder = false;  ///< leaves out the last batch if it is short
  std::uint64_t seed = 0;
};

class Batches {
 public:
  /// Throws Error(invalid_argument) for a batch size below 1, Error(invalid_data) if there would be no batch, and
  /// Error(limit_exceeded) past 2^32 - 1 samples.
  Batches(std::int64_t samples, const BatchOptions& options);

  /// Orders the samples anew. The same epoch always gives the same order. Allocates when shuffling.
  void begin_epoch(std::uint64_t epoch);

  std::int64_t count() const { return count_; }                    ///< batches of an epoch
  std::int64_t last_size() const;                                  ///< samples of the last batch
  std::int64_t samples() const;                                    ///< samples of an epoch, without a dropped remainder
  std::span<const std::uint32_t> batch(std::int64_t index) const;  ///< rows of batch 0 to count() - 1

 private:
  BatchOptions options_;
  std::vector<std::uint32_t> order_;
  std::int64_t count_ = 0;
};

}  // namespace weir
