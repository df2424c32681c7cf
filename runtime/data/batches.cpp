#include "runtime/data/batches.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "runtime/error.hpp"
#include "runtime/random.hpp"

namespace weir {

Batches::Batches(std::int64_t samples, const BatchOptions& options) : options_(options) {
  const std::int64_t size = options.batch_size;
  if (size < 1) throw Error(ErrorCode::invalid_argument, fmt::format("batch_size is {}; it must be 1 or more", size));
  if (samples > std::numeric_limits<std::uint32_t>::max())
    throw Error(ErrorCode::limit_exceeded, fmt::format("{} samples are more than 2^32 - 1", samples));
  if (samples < 1) throw Error(ErrorCode::invalid_data, "the data hold no samples");
  if (options.drop_remainder && samples < size)
    throw Error(ErrorCode::invalid_data,
                fmt::format("drop_remainder leaves no batch: {} samples are fewer than batch_size {}", samples, size));
  count_ = samples / size + (!options.drop_remainder && samples % size != 0);
  order_.resize(static_cast<std::size_t>(samples));
  begin_epoch(0);
}

void Batches::begin_epoch(std::uint64_t epoch) {
  if (!options_.shuffle) return std::iota(order_.begin(), order_.end(), 0u);
  order_ = permutation(static_cast<std::uint32_t>(order_.size()), random_key(options_.seed, "shuffle"), epoch);
}

std::int64_t Batches::last_size() const { return static_cast<std::int64_t>(batch(count_ - 1).size()); }

std::int64_t Batches::samples() const { return (count_ - 1) * options_.batch_size + last_size(); }

std::span<const std::uint32_t> Batches::batch(std::int64_t index) const {
  WEIR_CHECK(index >= 0 && index < count_, "a batch outside the epoch");
  const auto begin = static_cast<std::size_t>(index * options_.batch_size);
  const auto size = std::min(static_cast<std::size_t>(options_.batch_size), order_.size() - begin);
  return std::span(order_).subspan(begin, size);
}

}  // namespace weir
