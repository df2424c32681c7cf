// out = expression over tensors a, b, c, … of one shape and layout, and scalars.
//
// The expression becomes a list of instructions over registers of one block each (2 KB), so that intermediate values
// stay in the first cache. Each instruction rounds to f32 once, so bits depend on neither the instruction set's width
// nor on how blocks are shared out. Layouts with padding are allowed where zeros give zero.
#include <array>
#include <cmath>
#include <cstring>

#include "runtime/expression.hpp"
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

constexpr std::int64_t block_size = 512;

/// Where an instruction reads: a tensor (index into the recipe's operands), a register of the thread, or a uniform
/// value.
struct Source {
  enum Kind { tensor, temporary, uniform } kind = tensor;
  int index = 0;
};

struct Instruction {
  Operation operation = Operation::name;  ///< name: a copy
  std::array<Source, 3> sources;
  int result = 0;  ///< temporary; the last instruction writes the operand "out"
};

/// Operations that call the C library for each entry (a root does for errno), and the copy, which becomes one call.
constexpr bool is_call(Operation operation) {
  return operation == Operation::name || operation == Operation::exponential || operation == Operation::logarithm ||
         operation == Operation::root || operation == Operation::hyperbolic_tangent || operation == Operation::sigmoid;
}

template <Operation operation>
struct Loop {
  WEIR_INLINE void operator()(float* result, const float* x, const float* y, const float* z, std::int64_t count) const {
    if constexpr (is_call(operation)) {
      for (std::int64_t i = 0; i < count; ++i) result[i] = apply(x[i], y[i], z[i]);
    } else {
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) result[i] = apply(x[i], y[i], z[i]);
    }
  }

 private:
  WEIR_INLINE static float apply(float x, float y, float z) {
    if constexpr (operation == Operation::name) return x;
    if constexpr (operation == Operation::negate) return -x;
    if constexpr (operation == Operation::absolute) return x < 0 ? -x : x + 0.0f;
    if constexpr (operation == Operation::sign) return x > 0 ? 1.0f : x < 0 ? -1.0f : x;
    if constexpr (operation == Operation::exponential) return std::exp(x);
    if constexpr (operation == Operation::logarithm) return std::log(x);
    if constexpr (operation == Operation::root) return std::sqrt(x);
    if constexpr (operation == Operation::hyperbolic_tangent) return std::tanh(x);
    if constexpr (operation == Operation::sigmoid) return 1 / (1 + std::exp(-x));
    if constexpr (operation == Operation::add) return x + y;
    if constexpr (operation == Operation::subtract) return x - y;
    if constexpr (operation == Operation::multiply) return x * y;
    if constexpr (operation == Operation::divide) return x / y;
    if constexpr (operation == Operation::larger) return ((x > y) | (x != x)) ? x : y;
    if constexpr (operation == Operation::smaller) return ((x < y) | (x != x)) ? x : y;
    if constexpr (operation == Operation::greater) return x > y ? 1.0f : 0.0f;
    if constexpr (operation == Operation::less) return x < y ? 1.0f : 0.0f;
    if constexpr (operation == Operation::greater_equal) return x >= y ? 1.0f : 0.0f;
    if constexpr (operation == Operation::less_equal) return x <= y ? 1.0f : 0.0f;
    if constexpr (operation == Operation::where) return x > 0 ? y : z;
  }
};

template <Operation operation>
void execute(float* result, const float* x, const float* y, const float* z, std::int64_t count) {
  dispatch(Loop<operation>{}, result, x, y, z, count);
}

using Execute = void (*)(float*, const float*, const float*, const float*, std::int64_t);

Execute loop_of(Operation operation) {
  switch (operation) {
    case Operation::number:
    case Operation::name:
      return execute<Operation::name>;
    case Operation::negate:
      return execute<Operation::negate>;
    case Operation::absolute:
      return execute<Operation::absolute>;
    case Operation::sign:
      return execute<Operation::sign>;
    case Operation::exponential:
      return execute<Operation::exponential>;
    case Operation::logarithm:
      return execute<Operation::logarithm>;
    case Operation::root:
      return execute<Operation::root>;
    case Operation::hyperbolic_tangent:
      return execute<Operation::hyperbolic_tangent>;
    case Operation::sigmoid:
      return execute<Operation::sigmoid>;
    case Operation::add:
      return execute<Operation::add>;
    case Operation::subtract:
      return execute<Operation::subtract>;
    case Operation::multiply:
      return execute<Operation::multiply>;
    case Operation::divide:
      return execute<Operation::divide>;
    case Operation::larger:
      return execute<Operation::larger>;
    case Operation::smaller:
      return execute<Operation::smaller>;
    case Operation::greater:
      return execute<Operation::greater>;
    case Operation::less:
      return execute<Operation::less>;
    case Operation::greater_equal:
      return execute<Operation::greater_equal>;
    case Operation::less_equal:
      return execute<Operation::less_equal>;
    case Operation::where:
      return execute<Operation::where>;
  }
  return nullptr;
}

/// Instructions of an expression, and how many temporaries they need.
class Code {
 public:
  Code(const Expression& expression, const Recipe& recipe) : expression_(expression), recipe_(recipe) {
    const int last = static_cast<int>(expression.nodes().size()) - 1;
    const Source source = value_of(last, 0);
    if (instructions.empty()) instructions.push_back({Operation::name, {source, source, source}, 0});
  }

  std::vector<Instruction> instructions;
  int temporaries = 0;

 private:
  /// `free`: the first temporary that is not in use.
  Source value_of(int index, int free) {
    const Expression::Node& node = expression_.nodes()[static_cast<std::size_t>(index)];
    if (node.uniform) return {Source::uniform, index};
    if (node.operation == Operation::name) return {Source::tensor, recipe_.index_of(node.name)};
    std::array<Source, 3> sources;
    int used = free;
    for (std::size_t i = 0; i < node.arguments.size(); ++i) {
      sources[i] = value_of(node.arguments[i], used);
      if (sources[i].kind == Source::temporary) ++used;
    }
    for (std::size_t i = node.arguments.size(); i < 3; ++i) sources[i] = sources[0];
    temporaries = std::max(temporaries, free + 1);
    instructions.push_back({node.operation, sources, free});
    return {Source::temporary, free};
  }

  const Expression& expression_;
  const Recipe& recipe_;
};

class Pointwise final : public Executable {
 public:
  Pointwise(const Recipe& recipe, std::span<void* const> buffers)
      : expression_(recipe.attributes.word("expression")),
        buffers_(buffers.begin(), buffers.end()),
        out_(pointer<float>(recipe, buffers, "out")),
        count_(physical_count(recipe.operand("out").shape)),
        blocks_((count_ + block_size - 1) / block_size),
        threads_(blocks_ < worthwhile ? 1 : static_cast<int>(std::min<std::int64_t>(recipe.threads, blocks_))),
        values_(expression_.nodes().size()) {
    const Code code(expression_, recipe);
    instructions_ = code.instructions;
    for (const Instruction& instruction : instructions_) loops_.push_back(loop_of(instruction.operation));
    temporaries_ = code.temporaries;
    room_.resize(static_cast<std::size_t>(block_size * threads_ * temporaries_));
    uniforms_.resize(static_cast<std::size_t>(block_size) * values_.size());
    for (const Expression::Node& node : expression_.nodes())
      scalars_.push_back(node.operation == Operation::name && node.uniform
                             ? pointer<const double>(recipe, buffers, node.name)
                             : nullptr);
  }

  void run() override {
    compute_uniforms();
    parallel(threads_, [&](int index, int team) {
      float* room = room_.data() + std::int64_t{index} * temporaries_ * block_size;
      for (std::int64_t block = blocks_ * index / team; block < blocks_ * (index + 1) / team; ++block)
        run_block(block * block_size, std::min(block_size, count_ - block * block_size), room);
    });
  }

 private:
  static constexpr std::int64_t worthwhile =
      64;  ///< fewer blocks are not worth waking a team: 32768 entries, about 10 µs

  void compute_uniforms() {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const Expression::Node& node = expression_.nodes()[i];
      if (!node.uniform) continue;
      const auto argument = [&](std::size_t position) {
        return position < node.arguments.size() ? values_[static_cast<std::size_t>(node.arguments[position])] : 0.0;
      };
      if (node.operation == Operation::number) {
        values_[i] = node.number;
      } else if (node.operation == Operation::name) {
        values_[i] = *scalars_[i];
      } else {
        values_[i] = evaluate(node.operation, argument(0), argument(1), argument(2));
      }
      std::fill_n(uniforms_.data() + i * block_size, std::min(count_, block_size), static_cast<float>(values_[i]));
    }
  }

  const float* address(Source source, std::int64_t begin, const float* room) const {
    const auto index = static_cast<std::size_t>(source.index);
    if (source.kind == Source::tensor) return static_cast<const float*>(buffers_[index]) + begin;
    return (source.kind == Source::temporary ? room : uniforms_.data()) + index * block_size;
  }

  void run_block(std::int64_t begin, std::int64_t count, float* room) const {
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      const Instruction& step = instructions_[i];
      float* result = i + 1 == instructions_.size() ? out_ + begin : room + step.result * block_size;
      loops_[i](result, address(step.sources[0], begin, room), address(step.sources[1], begin, room),
                address(step.sources[2], begin, room), count);
    }
  }

  Expression expression_;
  std::vector<void*> buffers_;
  float* out_;
  std::int64_t count_, blocks_;
  int threads_;
  int temporaries_ = 0;
  std::vector<Instruction> instructions_;
  std::vector<Execute> loops_;
  std::vector<float> room_, uniforms_;  ///< blocks: temporaries of each thread; one for each node
  std::vector<double> values_;          ///< of uniform nodes
  std::vector<const double*> scalars_;  ///< of named uniform nodes
};

void check_operand(const Recipe& recipe, const RecipeOperand& operand, const std::vector<std::string>& names) {
  if (operand.role == "out") return;
  const bool tensor = Expression::is_tensor(operand.role);
  if (operand.access != Access::read || operand.dtype != (tensor ? DType::f32 : DType::f64))
    reject(recipe, "operand \"" + operand.role + "\" must be read, and of type " + (tensor ? "f32" : "f64"));
  if (!tensor && !operand.shape.dims.empty()) reject(recipe, "operand \"" + operand.role + "\" must be a scalar");
  if (tensor) check_equal_shapes(recipe, "out", operand.role);
  if (std::find(names.begin(), names.end(), operand.role) == names.end())
    reject(recipe, "the expression does not use operand \"" + operand.role + "\"");
}

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"expression"});
  const Expression expression(word_setting(recipe, "expression"));
  const RecipeOperand& out = recipe.operand("out");
  if (out.access != Access::write || out.dtype != DType::f32)
    reject(recipe, "operand \"out\" must be written, and f32");
  const std::vector<std::string> names = expression.names();
  for (const RecipeOperand& operand : recipe.operands) check_operand(recipe, operand, names);
  for (const std::string& name : names)
    if (name == "out" || !recipe.find(name))
      reject(recipe, "the expression reads \"" + name + "\", which is no operand");
  if (physical_count(out.shape) != element_count(out.shape.dims) && !expression.keeps_zero())
    reject(recipe, "the layout has padding, which the expression does not keep zero");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Pointwise>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"out", "a"}, {"out", "b"}, {"out", "c"}, {"out", "d"}, {"out", "e"}, {"out", "f"},
                                {"out", "g"}, {"out", "h"}, {"out", "i"}, {"out", "j"}, {"out", "k"}, {"out", "l"},
                                {"out", "m"}, {"out", "n"}, {"out", "o"}, {"out", "p"}, {"out", "q"}, {"out", "r"},
                                {"out", "s"}, {"out", "t"}, {"out", "u"}, {"out", "v"}, {"out", "w"}, {"out", "x"},
                                {"out", "y"}, {"out", "z"}};

}  // namespace

extern const KernelDef pointwise;
const KernelDef pointwise{.name = "pointwise",
                          .summary = "an expression, entry by entry",
                          .validate = validate,
                          .create = create,
                          .in_place = in_place};

}  // namespace weir::kernels
