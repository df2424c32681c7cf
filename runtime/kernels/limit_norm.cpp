// parameter *= desired / (1e-7 + norm), norm the Euclidean norm along `axes` for each position of the other axes,
// desired = rate · clip(norm, least, most) + (1 - rate) · norm: Keras' constraints on norms. Sums in double; a group of
// entries is one thread's, from its first to its last, so no bit depends on the threads.
#include <algorithm>
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/updates.hpp"

namespace weir::kernels {
namespace {

/// Offsets of all positions along some axes of a dense tensor.
std::vector<std::int64_t> offsets(const Dims& dims, const std::vector<bool>& taken) {
  std::vector<std::int64_t> all{0};
  std::int64_t stride = element_count(dims);
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    stride /= dims[axis];
    if (!taken[axis]) continue;
    std::vector<std::int64_t> next;
    next.reserve(all.size() * static_cast<std::size_t>(dims[axis]));
    for (std::int64_t base : all)
      for (std::int64_t i = 0; i < dims[axis]; ++i) next.push_back(base + i * stride);
    all = std::move(next);
  }
  return all;
}

class LimitNorm final : public Executable {
 public:
  LimitNorm(const Recipe& recipe, std::span<void* const> buffers)
      : parameter_(pointer<float>(recipe, buffers, "parameter")),
        least_(recipe.attributes.number("least")),
        most_(recipe.attributes.number("most")),
        rate_(recipe.attributes.number("rate")),
        threads_(recipe.threads) {
    const Dims& dims = recipe.operand("parameter").shape.dims;
    std::vector<bool> along(dims.size(), false);
    for (std::int64_t axis : recipe.attributes.integers("axes")) along[static_cast<std::size_t>(axis)] = true;
    along_ = offsets(dims, along);
    along.flip();
    groups_ = offsets(dims, along);
  }

  void run() override {
    const Blocks blocks(static_cast<std::int64_t>(groups_.size()), 64);
    blocks.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t group = begin; group < end; ++group)
        scale(parameter_ + groups_[static_cast<std::size_t>(group)]);
    });
  }

 private:
  void scale(float* entries) const {
    double sum = 0;
    for (std::int64_t at : along_) sum += static_cast<double>(entries[at]) * entries[at];
    const double norm = std::sqrt(sum);
    const double desired = rate_ * std::min(std::max(norm, least_), most_) + (1 - rate_) * norm;
    const auto factor = static_cast<float>(desired / (1e-7 + norm));
    for (std::int64_t at : along_) entries[at] *= factor;
  }

  float* parameter_;
  double least_, most_, rate_;
  int threads_;
  std::vector<std::int64_t> along_, groups_;  ///< offsets within a group, and of the groups
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"parameter", Access::update}};
  check_operands(recipe, rules);
  check_attribute_names(recipe, {"axes", "least", "most", "rate"});
  check_dense(recipe, "parameter");
  const auto rank = static_cast<std::int64_t>(recipe.operand("parameter").shape.dims.size());
  const auto* axes = [&]() -> const std::vector<std::int64_t>* {
    for (const auto& [name, value] : recipe.attributes)
      if (name == "axes") return std::get_if<std::vector<std::int64_t>>(&value);
    return nullptr;
  }();
  if (!axes || axes->empty()) reject(recipe, "\"axes\" must be a list of integers");
  for (std::size_t i = 0; i < axes->size(); ++i)
    if ((*axes)[i] < 0 || (*axes)[i] >= rank || (i > 0 && (*axes)[i] <= (*axes)[i - 1]))
      reject(recipe, "\"axes\" must name axes of the parameter, ascending");
  number_setting(recipe, "least", 0, 3.5e38);
  number_setting(recipe, "most", 0, 3.5e38);
  number_setting(recipe, "rate", 0, 1);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<LimitNorm>(recipe, buffers);
}

}  // namespace

extern const KernelDef limit_norm;
const KernelDef limit_norm{
    .name = "limit_norm",
    .summary = "scales groups of a parameter's entries to a range of norms",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
