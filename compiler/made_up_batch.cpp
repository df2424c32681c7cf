#include "compiler/made_up_batch.hpp"

#include <algorithm>

#include "runtime/random.hpp"

namespace weir {
namespace {

constexpr float small = 0.1f;

std::span<float> floats(Tensor& tensor) { return {tensor.data<float>(), static_cast<std::size_t>(tensor.count())}; }

/// Each entry of values that are all the same gets a number of its own.
void spread(Tensor& tensor, bool statistic, std::uint64_t key) {
  const std::span<float> values = floats(tensor);
  if (std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) != values.end()) return;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float drawn = uniform(key, 0, i);
    values[i] += small * (statistic ? drawn : 2 * drawn - 1);
  }
}

/// What the layer makes of the input, largest less smallest, where it could be no more than a scaling; 1 elsewhere.
double span_behind(const Node& node, const Graph& graph, ValueId input, const Tensor& values, std::int64_t batch) {
  if (node.operands.size() != 1 || node.results.size() != 1) return 1;
  if (node.section != Section::forward || graph.at(node.results[0]).type != graph.at(input).type) return 1;
  Array from = as_array(values), to(from.dims);
  ReferenceContext context(node, {&from}, {&to}, batch);
  node.op->reference(context);
  const auto [least, most] = std::minmax_element(to.data.begin(), to.data.end());
  return *most - *least;
}

void stretch(Tensor& tensor, const Graph& graph, ValueId input, std::int64_t batch) {
  double widest = 0;
  for (const Node& node : graph.nodes)
    for (ValueId operand : node.operands)
      if (operand == input) widest = std::max(widest, span_behind(node, graph, input, tensor, batch));
  if (!(widest > 0) || (widest > 0.5 && widest < 2)) return;
  for (float& value : floats(tensor)) value = static_cast<float>(value / widest);
}

/// The smallest bound that some plan has for it.
std::int64_t classes_of(const VerifySubjects& subjects, const std::string& input) {
  std::int64_t classes = 0;
  const auto look = [&](const Plan& plan) {
    for (const Program& program : plan.programs)
      for (const InputBinding& binding : program.inputs)
        if (binding.name == input && binding.classes > 0)
          classes = classes == 0 ? binding.classes : std::min(classes, binding.classes);
  };
  look(*subjects.whole.plan);
  for (const auto& [name, subject] : subjects.terms) look(*subject.plan);
  return classes == 0 ? 2 : classes;
}

bool is_mask(const VerifySubjects& subjects, const std::string& input) {
  for (const Program& program : subjects.whole.plan->programs)
    for (const InputBinding& binding : program.inputs)
      if (binding.name == input && binding.mask) return true;
  for (const auto& [name, subject] : subjects.terms)
    for (const Program& program : subject.plan->programs)
      for (const InputBinding& binding : program.inputs)
        if (binding.name == input && binding.mask) return true;
  return false;
}

/// 0 and 1, not all 0.
Tensor made_up_mask(const Value& input, std::int64_t batch, std::uint64_t key) {
  Tensor tensor(input.type.dtype, full_dims(input.type, batch));
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const bool counts = i % 3 == 0 || uniform(key, 0, static_cast<std::uint64_t>(i)) < 0.5f;
    if (input.type.dtype == DType::f32)
      tensor.data<float>()[i] = counts ? 1.0f : 0.0f;
    else
      tensor.data<std::int32_t>()[i] = counts ? 1 : 0;
  }
  return tensor;
}

Tensor made_up_input(const VerifySubjects& subjects, ValueId id) {
  const Graph& graph = subjects.whole.training.graph;
  const Value& input = graph.at(id);
  Tensor tensor(input.type.dtype, full_dims(input.type, subjects.batch));
  const std::uint64_t key = random_key(subjects.seed, "verify " + input.name);
  if (is_mask(subjects, input.name)) return made_up_mask(input, subjects.batch, key);
  if (input.type.dtype == DType::f32) {
    fill_uniform(floats(tensor), key, 0, 0);
    stretch(tensor, graph, id, subjects.batch);
    return tensor;
  }
  const auto classes = static_cast<std::uint32_t>(classes_of(subjects, input.name));
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    tensor.data<std::int32_t>()[i] =
        static_cast<std::int32_t>(uniform_integer(key, 0, static_cast<std::uint32_t>(i), classes));
  return tensor;
}

}  // namespace

Array as_array(const Tensor& tensor) {
  Array array(tensor.dims);
  for (std::int64_t i = 0; i < array.count(); ++i)
    array[i] = tensor.dtype == DType::i32 ? static_cast<double>(tensor.data<std::int32_t>()[i])
                                          : static_cast<double>(tensor.data<float>()[i]);
  return array;
}

MadeUpBatch make_up_batch(const VerifySubjects& subjects) {
  MadeUpBatch made;
  const Graph& graph = subjects.whole.training.graph;
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id) {
    const Value& value = graph.at(id);
    if (value.kind == ValueKind::input) made.inputs.emplace(value.name, made_up_input(subjects, id));
    const bool statistic = value.kind == ValueKind::statistic;
    if (value.kind != ValueKind::parameter && !statistic) continue;
    Tensor tensor = initial_value(value.initializer, value.type.dims, subjects.seed, value.name);
    spread(tensor, statistic, random_key(subjects.seed, "verify " + value.name));
    made.parameters.emplace(value.name, std::move(tensor));
  }
  return made;
}

}  // namespace weir
