// Batch normalization in training: dst = activation((src - mean) · scale / sqrt(variance + epsilon) + shift + addend),
// with mean and biased variance of the batch, which are results. Two passes over src: sums, then values.
//
// Entries are summed as distances from the first of their piece, in floats: a piece of n rows loses at most a factor of
// n to cancellation, however far from 0 its values are, since the first is one of them. Pieces are added up in double.
#include "runtime/kernel.hpp"
#include "runtime/kernels/normalization.hpp"

namespace weir::kernels {
namespace {

struct MomentRows {
  const float *x, *origin;
  double *sums, *squares;  ///< of the distances from origin
  std::int64_t rows, rest, lanes, width;
};

template <int width>
struct Moments {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE void operator()(const MomentRows& r) const {
    if (r.rows > 0) for_each_strip<width>(r.lanes, Strips{r});
    const float* const rest = r.x + r.rows * r.lanes;
    for (std::int64_t i = 0; i < r.rest; ++i) {
      const double distance = static_cast<double>(rest[i]) - static_cast<double>(r.origin[i]);
      r.sums[i] += distance;
      r.squares[i] += distance * distance;
    }
  }

 private:
  struct Strips {
    const MomentRows& r;

    template <int count>
    WEIR_INLINE void strip(std::int64_t lane) const {
      constexpr int values = count * width;
      float firsts[values];
      const bool folds = values % r.width == 0;
      for (int i = 0; i < values; i += folds ? static_cast<int>(r.width) : values)
        std::memcpy(firsts + i, r.x + lane, sizeof(float) * static_cast<std::size_t>(folds ? r.width : values));
      Vector first[count], sum[count] = {}, square[count] = {};
      load(firsts, first);
      const std::int64_t piece = r.rows * r.lanes;
      for (std::int64_t row = 0; row < r.rows; ++row) {
        Vector x[count];
        load(r.x + row * r.lanes + lane, x);
        fetch_ahead<count, Vector>(r.x + row * r.lanes + lane, piece);
        WEIR_UNROLL
        for (int i = 0; i < count; ++i) {
          const Vector distance = x[i] - first[i];
          sum[i] += distance;
          square[i] += distance * distance;
        }
      }
      add(lane, firsts, sum, square);
    }

    template <int count>
    WEIR_INLINE void add(std::int64_t lane, const float* firsts, const Vector (&sum)[count],
                         const Vector (&square)[count]) const {
      constexpr int values = count * width;
      float sums[values], squares[values];
      store(sum, sums);
      store(square, squares);
      const std::int64_t left = fold_lanes(sums, values, r.width);
      fold_lanes(squares, values, r.width);
      const double rows = static_cast<double>(r.rows * (values / left));
      for (std::int64_t i = 0; i < left; ++i) {
        const double away = static_cast<double>(firsts[i]) - static_cast<double>(r.origin[lane + i]),
                     s = static_cast<double>(sums[i]);
        r.sums[lane + i] += s + rows * away;
        r.squares[lane + i] += static_cast<double>(squares[i]) + away * (2 * s + rows * away);
      }
    }
  };
};

struct ValueRows {
  const float *x, *addend, *mean, *factor, *shift;
  float* y;
  std::int64_t rows, rest, lanes;
};

template <After after, bool adds>
struct Normalize {
  template <int width>
  struct Loop {
    using Vector = typename Lanes<width>::Vector;

    WEIR_INLINE void operator()(const ValueRows& r) const {
      for_each_strip<width>(r.lanes, Strips{r});
      const std::int64_t begin = r.rows * r.lanes;
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < r.rest; ++i) {
        float value = (r.x[begin + i] - r.mean[i]) * r.factor[i] + r.shift[i];
        if constexpr (adds) value += r.addend[begin + i];
        activate<after>(value);
        r.y[begin + i] = value;
      }
    }

   private:
    struct Strips {
      const ValueRows& r;

      template <int count>
      WEIR_INLINE void strip(std::int64_t lane) const {
        Vector mean[count], factor[count], shift[count];
        load(r.mean + lane, mean);
        load(r.factor + lane, factor);
        load(r.shift + lane, shift);
        const std::int64_t piece = r.rows * r.lanes;
        for (std::int64_t row = 0; row < r.rows; ++row) {
          const std::int64_t at = row * r.lanes + lane;
          Vector x[count], addend[count];
          load(r.x + at, x);
          fetch_ahead<count, Vector>(r.x + at, -piece);
          fetch_ahead<count, Vector>(r.y + at, -piece);
          if constexpr (adds) load(r.addend + at, addend);
          if constexpr (adds) fetch_ahead<count, Vector>(r.addend + at, -piece);
          WEIR_UNROLL
          for (int i = 0; i < count; ++i) {
            x[i] = (x[i] - mean[i]) * factor[i] + shift[i];
            if constexpr (adds) x[i] += addend[i];
            activate<after>(x[i]);
          }
          store(x, r.y + at);
        }
      }
    };
  };
};

/// Of the distances from `origins`, over 1 / `share` rows.
struct Statistics {
  WEIR_INLINE void operator()(const double* sums, const double* squares, const float* origins, double share,
                              float* means, float* variances, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t c = 0; c < count; ++c) {
      const double distance = sums[c] * share, variance = squares[c] * share - distance * distance;
      means[c] = static_cast<float>(static_cast<double>(origins[c]) + distance);
      variances[c] = static_cast<float>(variance < 0 ? 0 : variance);  // NaN stays NaN
    }
  }
};

class NormalizeBatch final : public Executable {
 public:
  NormalizeBatch(const Recipe& recipe, std::span<void* const> buffers)
      : rows_(recipe.operand("src").shape),
        sums_(rows_),
        normalization_(recipe, buffers, rows_),
        src_(pointer<const float>(recipe, buffers, "src")),
        addend_(pointer<const float>(recipe, buffers, "addend")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        mean_(pointer<float>(recipe, buffers, "mean")),
        variance_(pointer<float>(recipe, buffers, "variance")),
        after_(after_of(recipe)),
        threads_(recipe.threads),
        origins_(static_cast<std::size_t>(rows_.padded_channels())),
        origin_(static_cast<std::size_t>(rows_.all_lanes())) {}

  void run() override {
    switch (after_) {
      case After::nothing:
        return addend_ ? normalize<After::nothing, true>() : normalize<After::nothing, false>();
      case After::relu:
        return addend_ ? normalize<After::relu, true>() : normalize<After::relu, false>();
      case After::relu6:
        return addend_ ? normalize<After::relu6, true>() : normalize<After::relu6, false>();
    }
  }

 private:
  template <After after, bool adds>
  void normalize() {
    rows_.first_row(src_, origins_);
    rows_.spread({0, rows_.channels()}, origins_.data(), origin_);
    parallel(
        rows_.team(threads_), [&](int index, int team) { add_moments(index, team); },
        [&](int index, int team) { settle(rows_.channels_of(index, team)); },
        [&](int index, int team) { give<after, adds>(index, team); });
  }

  void add_moments(int index, int team) {
    sums_.add_pieces(index, team, [&](const ChannelPiece& piece, double* sums, double* squares) {
      run_widest<Moments>(MomentRows{src_ + piece.begin, origin_.data() + piece.lane, sums, squares, piece.rows,
                                     piece.rest, rows_.lanes(), rows_.width()});
    });
  }

  void settle(ChannelRange range) {
    sums_.add_shares(range);
    const std::int64_t first = range.first;
    dispatch(Statistics{}, sums_.first.data() + first, sums_.second.data() + first, origins_.data() + first,
             1 / static_cast<double>(rows_.rows_of_channel()), mean_ + first, variance_ + first, range.last - first);
    normalization_.settle(range, mean_, variance_);
  }

  template <After after, bool adds>
  void give(int index, int team) {
    const Normalization& n = normalization_;
    rows_.for_each_of(index, team, [&](const ChannelPiece& piece) {
      run_widest<Normalize<after, adds>::template Loop>(
          ValueRows{src_ + piece.begin, adds ? addend_ + piece.begin : nullptr, n.mean.data() + piece.lane,
                    n.factor.data() + piece.lane, n.shift.data() + piece.lane, dst_ + piece.begin, piece.rows,
                    piece.rest, rows_.lanes()});
    });
  }

  ChannelRows rows_;
  ChannelSums sums_;
  Normalization normalization_;
  const float *src_, *addend_;
  float *dst_, *mean_, *variance_;
  After after_;
  int threads_;
  std::vector<float> origins_, origin_;  ///< first entries, by channel and by lane
};

constexpr OperandRule operands[] = {{"src"},
                                    {"scale", Access::read, DType::f32, true},
                                    {"shift", Access::read, DType::f32, true},
                                    {"addend", Access::read, DType::f32, true},
                                    {"dst", Access::write},
                                    {"mean", Access::write},
                                    {"variance", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_normalization(recipe, {"src", "addend", "dst"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<NormalizeBatch>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "addend"}, {"dst", "src"}};

}  // namespace

extern const KernelDef normalize_batch;
const KernelDef normalize_batch{
    .name = "normalize_batch",
    .summary = "batch normalization in training, with what is added and the activation behind it",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
