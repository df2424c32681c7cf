// Gradient of normalize_batch by src, scale and shift, with x̂ = (src - mean) / sqrt(variance + epsilon) and d what the
// activation let through of diff_dst:
//   diff_src = scale / sqrt(variance + epsilon) · (d - mean(d) - x̂ · mean(d · x̂))
//   diff_scale = sum(d · x̂), diff_shift = sum(d), diff_addend = d
// What was let through the value says, computed again from src; or dst, where something was added to it. Two passes:
// sums, then values, with what is to do for each channel before and between them; threads share out all four in one
// region. In the second case the first pass writes d, and the second reads it.
#include "runtime/kernel.hpp"
#include "runtime/kernels/normalization.hpp"

namespace weir::kernels {
namespace {

struct GradientRows {
  const float *x, *d, *y;
  float *masked, *dx;
  const float *mean, *factor, *shift;
  const float *by_d, *by_x, *constant;  ///< dx = by_d · (d - constant - by_x · (x - mean)): 0 where there is one row
  double *sums, *products;              ///< of d and of d · (x - mean)
  std::int64_t rows, rest, lanes, width;
};

/// by_value: the mask is the sign of the value that is computed again; else, where there is a y, of y.
template <After after, bool by_value>
struct Sums {
  static constexpr bool by_result = after != After::nothing && !by_value;

  template <int width>
  struct Loop {
    using Vector = typename Lanes<width>::Vector;

    WEIR_INLINE void operator()(const GradientRows& r) const {
      for_each_strip<width>(r.lanes, Strips{r});
      const std::int64_t begin = r.rows * r.lanes;
      for (std::int64_t i = 0; i < r.rest; ++i) {
        const float away = r.x[begin + i] - r.mean[i];
        float d = r.d[begin + i];
        if constexpr (by_value) mask<after>((r.x[begin + i] - r.mean[i]) * r.factor[i] + r.shift[i], d);
        if constexpr (by_result) mask<after>(r.y[begin + i], d), r.masked[begin + i] = d;
        r.sums[i] += static_cast<double>(d);
        r.products[i] += static_cast<double>(d) * static_cast<double>(away);
      }
    }

   private:
    struct Strips {
      const GradientRows& r;

      template <int count>
      WEIR_INLINE void strip(std::int64_t lane) const {
        Vector mean[count], factor[count], shift[count], sum[count] = {}, product[count] = {};
        load(r.mean + lane, mean);
        if constexpr (by_value) load(r.factor + lane, factor);
        if constexpr (by_value) load(r.shift + lane, shift);
        const std::int64_t piece = r.rows * r.lanes;
        for (std::int64_t row = 0; row < r.rows; ++row) {
          const std::int64_t at = row * r.lanes + lane;
          Vector x[count], d[count], y[count];
          load(r.x + at, x);
          load(r.d + at, d);
          if constexpr (by_result) load(r.y + at, y);
          fetch_ahead<count, Vector>(r.x + at, piece);
          fetch_ahead<count, Vector>(r.d + at, piece);
          if constexpr (by_result) fetch_ahead<count, Vector>(r.y + at, piece);
          if constexpr (by_result) fetch_ahead<count, Vector>(r.masked + at, piece);
          WEIR_UNROLL
          for (int i = 0; i < count; ++i) {
            if constexpr (by_value) mask<after>(Vector((x[i] - mean[i]) * factor[i] + shift[i]), d[i]);
            if constexpr (by_result) mask<after>(y[i], d[i]);
            sum[i] += d[i];
            product[i] += d[i] * (x[i] - mean[i]);
          }
          if constexpr (by_result) store(d, r.masked + at);
        }
        add(r.sums + lane, sum, r.width);
        add(r.products + lane, product, r.width);
      }

      template <int count>
      WEIR_INLINE static void add(double* to, const Vector (&sums)[count], std::int64_t channels) {
        float values[count * width];
        store(sums, values);
        const std::int64_t left = fold_lanes(values, count * width, channels);
        for (std::int64_t i = 0; i < left; ++i) to[i] += static_cast<double>(values[i]);
      }
    };
  };
};

template <After after>
struct Values {
  static constexpr bool masks = after != After::nothing;

  template <int width>
  struct Loop {
    using Vector = typename Lanes<width>::Vector;

    WEIR_INLINE void operator()(const GradientRows& r) const {
      for_each_strip<width>(r.lanes, Strips{r});
      const std::int64_t begin = r.rows * r.lanes;
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < r.rest; ++i) {
        const float away = r.x[begin + i] - r.mean[i];
        float d = r.d[begin + i];
        if constexpr (masks) mask<after>((r.x[begin + i] - r.mean[i]) * r.factor[i] + r.shift[i], d);
        r.dx[begin + i] = r.by_d[i] * ((d - r.constant[i]) - r.by_x[i] * away);
      }
    }

   private:
    struct Strips {
      const GradientRows& r;

      template <int count>
      WEIR_INLINE void strip(std::int64_t lane) const {
        Vector mean[count], factor[count], shift[count], by_d[count], by_x[count], constant[count];
        load(r.mean + lane, mean);
        if constexpr (masks) load(r.factor + lane, factor);
        if constexpr (masks) load(r.shift + lane, shift);
        load(r.by_d + lane, by_d);
        load(r.by_x + lane, by_x);
        load(r.constant + lane, constant);
        const std::int64_t piece = r.rows * r.lanes;
        for (std::int64_t row = 0; row < r.rows; ++row) {
          const std::int64_t at = row * r.lanes + lane;
          Vector x[count], d[count];
          load(r.x + at, x);
          load(r.d + at, d);
          fetch_ahead<count, Vector>(r.x + at, -piece);
          fetch_ahead<count, Vector>(r.d + at, -piece);
          if (r.dx != r.d) fetch_ahead<count, Vector>(r.dx + at, -piece);
          WEIR_UNROLL
          for (int i = 0; i < count; ++i) {
            if constexpr (masks) mask<after>(Vector((x[i] - mean[i]) * factor[i] + shift[i]), d[i]);
            d[i] = by_d[i] * ((d[i] - constant[i]) - by_x[i] * (x[i] - mean[i]));
          }
          store(d, r.dx + at);
        }
      }
    };
  };
};

/// What the two sums of each channel, over 1 / `share` rows, come to; diff_scales, diff_shifts: null where nobody wants
/// them.
struct SettleGradient {
  WEIR_INLINE void operator()(const double* sums, const double* products, const double* per_deviation, double share,
                              float* by_x, float* constants, float* diff_scales, float* diff_shifts,
                              std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t c = 0; c < count; ++c) {
      by_x[c] = static_cast<float>(per_deviation[c] * (products[c] * per_deviation[c]) * share);
      constants[c] = static_cast<float>(sums[c] * share);
    }
    for (std::int64_t c = 0; diff_scales && c < count; ++c)
      diff_scales[c] = static_cast<float>(products[c] * per_deviation[c]);
    for (std::int64_t c = 0; diff_shifts && c < count; ++c) diff_shifts[c] = static_cast<float>(sums[c]);
  }
};

class NormalizeBatchGradient final : public Executable {
 public:
  NormalizeBatchGradient(const Recipe& recipe, std::span<void* const> buffers)
      : rows_(recipe.operand("src").shape),
        sums_(rows_),
        normalization_(recipe, buffers, rows_),
        src_(pointer<const float>(recipe, buffers, "src")),
        diff_dst_(pointer<const float>(recipe, buffers, "diff_dst")),
        dst_(pointer<const float>(recipe, buffers, "dst")),
        mean_(pointer<const float>(recipe, buffers, "mean")),
        variance_(pointer<const float>(recipe, buffers, "variance")),
        diff_src_(pointer<float>(recipe, buffers, "diff_src")),
        diff_scale_(pointer<float>(recipe, buffers, "diff_scale")),
        diff_shift_(pointer<float>(recipe, buffers, "diff_shift")),
        masked_(pointer<float>(recipe, buffers, "diff_addend")),
        after_(after_of(recipe)),
        threads_(recipe.threads),
        by_x_(static_cast<std::size_t>(rows_.channels())),
        constant_(by_x_.size()),
        lanes_by_x_(static_cast<std::size_t>(rows_.all_lanes())),
        lanes_constant_(lanes_by_x_.size()) {
    if (dst_ && !masked_) masked_ = diff_src_;  // free until the second pass
  }

  void run() override {
    switch (after_) {
      case After::nothing:
        return differentiate<After::nothing, false>(diff_dst_);
      case After::relu:
        return dst_ ? differentiate<After::relu, false>(masked_) : differentiate<After::relu, true>(diff_dst_);
      case After::relu6:
        return dst_ ? differentiate<After::relu6, false>(masked_) : differentiate<After::relu6, true>(diff_dst_);
    }
  }

 private:
  GradientRows rows_of(const ChannelPiece& piece, const float* d) const {
    const auto at = [&](auto* values) { return values ? values + piece.begin : nullptr; };
    const auto lane = [&](const std::vector<float>& values) { return values.data() + piece.lane; };
    const Normalization& n = normalization_;
    return {at(src_),       at(d),         at(dst_),       at(masked_),       at(diff_src_),         lane(n.mean),
            lane(n.factor), lane(n.shift), lane(n.factor), lane(lanes_by_x_), lane(lanes_constant_), nullptr,
            nullptr,        piece.rows,    piece.rest,     rows_.lanes(),     rows_.width()};
  }

  /// d: what the second pass reads, with the mask still to come where by_value.
  template <After after, bool by_value>
  void differentiate(const float* d) {
    parallel(
        rows_.team(threads_),
        [&](int index, int team) { normalization_.settle(rows_.channels_of(index, team), mean_, variance_); },
        [&](int index, int team) { add_up<after, by_value>(index, team); },
        [&](int index, int team) { settle(rows_.channels_of(index, team)); },
        [&](int index, int team) { give<by_value ? after : After::nothing>(index, team, d); });
  }

  template <After after, bool by_value>
  void add_up(int index, int team) {
    sums_.add_pieces(index, team, [&](const ChannelPiece& piece, double* sums, double* products) {
      GradientRows rows = rows_of(piece, diff_dst_);
      rows.sums = sums;
      rows.products = products;
      run_widest<Sums<after, by_value>::template Loop>(rows);
    });
  }

  void settle(ChannelRange range) {
    sums_.add_shares(range);
    const std::int64_t first = range.first;
    const auto at = [&](float* values) { return values ? values + first : nullptr; };
    dispatch(SettleGradient{}, sums_.first.data() + first, sums_.second.data() + first,
             normalization_.per_deviation.data() + first, 1 / static_cast<double>(rows_.rows_of_channel()),
             at(by_x_.data()), at(constant_.data()), at(diff_scale_), at(diff_shift_), range.last - first);
    rows_.spread(range, by_x_.data(), lanes_by_x_);
    rows_.spread(range, constant_.data(), lanes_constant_);
  }

  template <After after>
  void give(int index, int team, const float* d) {
    rows_.for_each_of(index, team,
                      [&](const ChannelPiece& piece) { run_widest<Values<after>::template Loop>(rows_of(piece, d)); });
  }

  ChannelRows rows_;
  ChannelSums sums_;
  Normalization normalization_;
  const float *src_, *diff_dst_, *dst_, *mean_, *variance_;
  float *diff_src_, *diff_scale_, *diff_shift_;
  float* masked_;  ///< d, where it is not computed anew
  After after_;
  int threads_;
  std::vector<float> by_x_, constant_;              ///< by channel
  std::vector<float> lanes_by_x_, lanes_constant_;  ///< by lane
};

constexpr Access read = Access::read, write = Access::write;
constexpr DType f32 = DType::f32;
constexpr OperandRule operands[] = {{"src"},
                                    {"diff_dst"},
                                    {"mean"},
                                    {"variance"},
                                    {"scale", read, f32, true},
                                    {"shift", read, f32, true},
                                    {"dst", read, f32, true},
                                    {"diff_src", write},
                                    {"diff_scale", write, f32, true},
                                    {"diff_shift", write, f32, true},
                                    {"diff_addend", write, f32, true}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_normalization(recipe, {"src", "diff_dst", "dst", "diff_src", "diff_addend"});
  if (recipe.find("dst") && !recipe.attributes.has("post_op")) reject(recipe, "dst is of no use without \"post_op\"");
  if (recipe.find("diff_addend") && !recipe.find("dst")) reject(recipe, "diff_addend needs dst");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<NormalizeBatchGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {
    {"diff_src", "diff_dst"}, {"diff_src", "dst"}, {"diff_addend", "diff_dst"}, {"diff_addend", "dst"}};

}  // namespace

extern const KernelDef normalize_batch_gradient;
const KernelDef normalize_batch_gradient{
    .name = "normalize_batch_gradient",
    .summary = "gradient of batch normalization, of what the activation behind it lets through",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
