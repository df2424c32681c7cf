// One op by itself, computed twice: by its double-precision reference, and lowered to kernels of our own that run on
// f32 buffers in canonical layouts. No graph passes, no oneDNN.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"
#include "runtime/kernel.hpp"

namespace weir {

struct LoweredOperand {
  TensorType type;
  Array values;  ///< with the batch in front where batched
};

/// name → values, of results and updated operands
using Computed = std::map<std::string, Array, std::less<>>;

class LoweredOp {
 public:
  /// attributes: beside the record's defaults. operands: in the record's order, nothing where an optional one is
  /// absent.
  LoweredOp(const OpDef& op, Attributes attributes, std::int64_t batch,
            std::vector<std::optional<LoweredOperand>> operands);

  /// Throws InferFailure where the record refuses the operands.
  void infer();

  Computed by_reference();
  /// The kernel recipes, validated.
  std::vector<Recipe> recipes(int threads = 1);
  /// in_place: a written operand takes over the bytes of the one that its kernel allows.
  Computed by_kernels(int threads = 1, bool in_place = false);

  Array& operand(std::string_view name);

 private:
  const OpDef& op_;
  std::int64_t batch_;
  std::vector<std::optional<LoweredOperand>> operands_;
  Graph graph_;
};

struct EmittedStep {
  Recipe recipe;
  std::vector<std::string> names;
};

/// Canonical layouts everywhere; keeps what an op emits.
class CanonicalLowering final : public LowerContext {
 public:
  CanonicalLowering(const Graph& graph, std::int64_t batch, int threads)
      : graph_(graph), batch_(batch), threads_(threads) {}

  const Node& node() const override { return graph_.nodes.back(); }
  std::int64_t batch() const override { return batch_; }
  bool has(std::string_view name) const override { return operand_id(name) != none; }
  std::size_t operand_count() const override { return node().operands.size(); }
  std::string operand_name(std::size_t index) const override { return std::string(node().op->operands.at(index).name); }
  LoweredType operand(std::string_view name) const override { return lowered(operand_id(name)); }
  LoweredType result(std::string_view name) const override {
    LoweredType type = lowered(node().results.at(static_cast<std::size_t>(result_index(*node().op, name))));
    type.shape.layout.clear();
    return type;
  }
  std::string activation_layout(const LoweredType& type) const override { return type.shape.axes; }
  void alias(std::string_view, std::string_view) override {
    throw Error(ErrorCode::internal, "no op here is an alias");
  }

  std::vector<EmittedStep> emitted;

 protected:
  void emit(Recipe open, const std::vector<std::string>& names) override {
    open.threads = threads_;
    emitted.push_back({std::move(open), names});
  }

 private:
  ValueId operand_id(std::string_view name) const {
    const auto index = static_cast<std::size_t>(operand_index(*node().op, name));
    return index < node().operands.size() ? node().operands[index] : none;  // those behind are optional
  }
  LoweredType lowered(ValueId id) const {
    const Value& value = graph_.at(id);
    return {value.type.dtype, {full_dims(value.type, batch_), value.axes, value.axes}};
  }

  const Graph& graph_;
  std::int64_t batch_;
  int threads_;
};

/// 64-byte aligned, so that a kernel may rely on it; rounded up, and filled with NaN so that an unwritten result shows.
struct AlignedBuffer {
  AlignedBuffer(DType type, std::int64_t count) : dtype(type), elements(count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of(type);
    data = static_cast<std::byte*>(::operator new(bytes + 64, std::align_val_t(64)));
    std::memset(data, 0xFF, bytes + 64);
  }
  ~AlignedBuffer() { ::operator delete(data, std::align_val_t(64)); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  void store(const Array& values) {
    for (std::int64_t i = 0; i < elements; ++i) switch (dtype) {
        case DType::f32:
          reinterpret_cast<float*>(data)[i] = static_cast<float>(values[i]);
          break;
        case DType::i32:
          reinterpret_cast<std::int32_t*>(data)[i] = static_cast<std::int32_t>(values[i]);
          break;
        default:
          reinterpret_cast<double*>(data)[i] = values[i];
      }
  }
  void load(Array& values) const {
    for (std::int64_t i = 0; i < elements; ++i) switch (dtype) {
        case DType::f32:
          values[i] = static_cast<double>(reinterpret_cast<const float*>(data)[i]);
          break;
        case DType::i32:
          values[i] = reinterpret_cast<const std::int32_t*>(data)[i];
          break;
        default:
          values[i] = reinterpret_cast<const double*>(data)[i];
      }
  }

  DType dtype;
  std::int64_t elements;
  std::byte* data;
};

inline std::string axes_of(const TensorType& type) {
  if (type.batched) return activation_axes(type.dims.size());
  return std::string("opqrst").substr(0, type.dims.size());
}

inline bool is_updated(OperandKind kind) {
  return kind == OperandKind::parameter || kind == OperandKind::state || kind == OperandKind::statistic;
}

inline LoweredOp::LoweredOp(const OpDef& op, Attributes attributes, std::int64_t batch,
                            std::vector<std::optional<LoweredOperand>> operands)
    : op_(op), batch_(batch), operands_(std::move(operands)) {
  Node node{.op = &op, .name = std::string(op.name), .attributes = with_defaults(op, std::move(attributes))};
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    if (!operands_[i]) {
      node.operands.push_back(none);
      continue;
    }
    const TensorType& type = operands_[i]->type;
    node.operands.push_back(
        graph_.add_value({.name = std::string(op.operands.at(i).name), .type = type, .axes = axes_of(type)}));
  }
  graph_.nodes.push_back(std::move(node));
}

inline void LoweredOp::infer() {
  Node& node = graph_.nodes.back();
  if (!node.results.empty()) return;
  InferContext context(graph_, node);
  op_.infer(context);
  for (std::size_t i = 0; i < context.results.size(); ++i) {
    const TensorType& type = context.results[i];
    node.results.push_back(
        graph_.add_value({.name = "result " + std::string(op_.results[i]), .type = type, .axes = axes_of(type)}));
  }
}

inline Array& LoweredOp::operand(std::string_view name) {
  return operands_.at(static_cast<std::size_t>(operand_index(op_, name)))->values;
}

inline Computed LoweredOp::by_reference() {
  infer();
  const Node& node = graph_.nodes.back();
  std::vector<std::optional<LoweredOperand>> operands = operands_;
  std::vector<Array*> read, written;
  for (auto& operand : operands) read.push_back(operand ? &operand->values : nullptr);
  Computed computed;
  for (std::size_t i = 0; i < node.results.size(); ++i)
    written.push_back(
        &computed.emplace(op_.results[i], Array(full_dims(graph_.at(node.results[i]).type, batch_))).first->second);
  ReferenceContext context(node, read, written, batch_);
  op_.reference(context);
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i] && is_updated(op_.operands[i].kind)) computed.emplace(op_.operands[i].name, operands[i]->values);
  return computed;
}

inline std::vector<Recipe> LoweredOp::recipes(int threads) {
  infer();
  CanonicalLowering capture(graph_, batch_, threads);
  op_.lower(capture);
  std::vector<Recipe> recipes;
  for (EmittedStep& emitted : capture.emitted) {
    find_kernel(emitted.recipe.kernel)->validate(emitted.recipe);
    recipes.push_back(std::move(emitted.recipe));
  }
  return recipes;
}

inline Computed LoweredOp::by_kernels(int threads, bool in_place) {
  infer();
  CanonicalLowering capture(graph_, batch_, threads);
  op_.lower(capture);
  std::map<std::string, std::shared_ptr<AlignedBuffer>> buffers;
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    if (!operands_[i]) continue;
    auto buffer = std::make_shared<AlignedBuffer>(operands_[i]->type.dtype, operands_[i]->values.count());
    buffer->store(operands_[i]->values);
    buffers.emplace(op_.operands[i].name, std::move(buffer));
  }
  for (const EmittedStep& emitted : capture.emitted) {
    const KernelDef& kernel = *find_kernel(emitted.recipe.kernel);
    kernel.validate(emitted.recipe);
    const auto name_of = [&](std::string_view role) {
      return emitted.names.at(static_cast<std::size_t>(emitted.recipe.index_of(role)));
    };
    for (const InPlace& pair : in_place ? kernel.in_place : std::span<const InPlace>())
      buffers[name_of(pair.written)] = buffers.at(name_of(pair.read));
    std::vector<void*> bound;
    for (std::size_t i = 0; i < emitted.names.size(); ++i) {
      const RecipeOperand& operand = emitted.recipe.operands[i];
      auto& buffer = buffers[emitted.names[i]];
      if (!buffer) buffer = std::make_shared<AlignedBuffer>(operand.dtype, element_count(operand.shape.dims));
      bound.push_back(buffer->data);
    }
    kernel.create(emitted.recipe, bound)->run();
  }
  Computed computed;
  const Node& node = graph_.nodes.back();
  for (std::size_t i = 0; i < node.results.size(); ++i) {
    Array values(full_dims(graph_.at(node.results[i]).type, batch_));
    buffers.at(std::string(op_.results[i]))->load(values);
    computed.emplace(op_.results[i], std::move(values));
  }
  for (std::size_t i = 0; i < operands_.size(); ++i)
    if (operands_[i] && is_updated(op_.operands[i].kind)) {
      Array values(operands_[i]->values.dims);
      buffers.at(std::string(op_.operands[i].name))->load(values);
      computed.emplace(op_.operands[i].name, std::move(values));
    }
  return computed;
}

/// A scalar operand.
inline LoweredOperand scalar_operand(double value) {
  LoweredOperand operand{scalar_type(), Array(Dims{})};
  operand.values[0] = value;
  return operand;
}

}  // namespace weir
