// dst = its phases put together (phases.hpp), + rest, + bias, then relu where "relu" says so.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/phases.hpp"

namespace weir::kernels {
namespace {

/// Every second pixel of a row, from one row of a phase.
struct RowOfPhase {
  const float *phase, *rest, *bias;  ///< rest and bias may be null
  float* dst;
  std::int64_t pixels, run, step;
  bool relu;
};

struct Loop {
  WEIR_INLINE void operator()(RowOfPhase row) const {
    for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel) {
      const float* from = row.phase + pixel * row.step;
      const std::int64_t at = 2 * pixel * row.run;
      if (row.rest)
        join(from, row.rest + at, row.bias, row.dst + at, row.run, row.relu);
      else
        join(from, nullptr, row.bias, row.dst + at, row.run, row.relu);
    }
  }

 private:
  WEIR_INLINE static void join(const float* from, const float* rest, const float* bias, float* dst, std::int64_t run,
                               bool relu) {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < run; ++i) {
      float value = from[i];
      if (rest) value += rest[i];
      if (bias) value += bias[i];
      dst[i] = relu && value < 0 ? 0.0f : value;  // NaN stays NaN
    }
  }
};

class JoinPhases final : public Executable {
 public:
  JoinPhases(const Recipe& recipe, std::span<void* const> buffers)
      : geometry_(recipe.operand("dst").shape, recipe.operand("phases").shape),
        phases_(pointer<const float>(recipe, buffers, "phases")),
        rest_(pointer<const float>(recipe, buffers, "rest")),
        bias_(pointer<const float>(recipe, buffers, "bias")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        relu_(recipe.attributes.flag("relu")),
        threads_(recipe.threads),
        rows_(geometry_.batch * geometry_.runs * geometry_.height, 8) {}

  void run() override {
    const PhaseGeometry& g = geometry_;
    rows_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t y = row % g.height, index = row / g.height % g.runs, sample = row / g.height / g.runs;
        for (std::int64_t q = 0; q < 2; ++q) {
          const std::int64_t at = g.row(sample, index, y) + q * g.run, p = y % 2;
          dispatch(Loop{},
                   RowOfPhase{phases_ + g.phase(sample, index, 2 * p + q, y / 2 + p, q), rest_ ? rest_ + at : nullptr,
                              bias_ ? bias_ + index * g.run : nullptr, dst_ + at, g.width / 2, g.run, g.step, relu_});
        }
      }
    });
  }

 private:
  PhaseGeometry geometry_;
  const float *phases_, *rest_, *bias_;
  float* dst_;
  bool relu_;
  int threads_;
  Blocks rows_;
};

constexpr OperandRule operands[] = {{"phases"},
                                    {"rest", Access::read, DType::f32, true},
                                    {"bias", Access::read, DType::f32, true},
                                    {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_phases(recipe, "dst", "phases");
  if (recipe.find("rest")) check_equal_shapes(recipe, "rest", "dst");
  if (const RecipeOperand* bias = recipe.find("bias")) {
    check_dense(recipe, "bias");
    if (bias->shape.dims != Dims{recipe.operand("dst").shape.dims[3]})
      reject(recipe, "the bias must have one value for each channel");
  }
  check_attribute_names(recipe, {"relu"});
  flag_setting(recipe, "relu");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<JoinPhases>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "rest"}};

}  // namespace

extern const KernelDef join_phases;
const KernelDef join_phases{.name = "join_phases",
                            .summary = "an image put together from the phases of its pixels",
                            .validate = validate,
                            .create = create,
                            .in_place = in_place};

}  // namespace weir::kernels
