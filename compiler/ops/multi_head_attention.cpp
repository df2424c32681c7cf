// Scaled dot-product attention in several heads (A. Vaswani et al., "Attention is all you need", 2017), as Keras'
// MultiHeadAttention over one axis of sequence:
//   Q = query · query_kernel + query_bias, K = key · key_kernel + key_bias, V = value · value_kernel + value_bias
//   P[h, t] = softmax over s of Q[t, h] · K[s, h] / sqrt(key_dim);  with use_causal_mask only s ≤ t
//   C[t, h] = sum over s of P[h, t, s] · V[s, h];  output = C · output_kernel + output_bias
// Kernels are [in, heads, size] and [heads, size, out]: dense kernels of heads · size units to the primitives.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "compiler/ir/op.hpp"
#include "compiler/ops/rows.hpp"

namespace weir::ops {
namespace {

void check_sequences(InferContext& c) {
  const TensorType &query = c.operand("query"), &value = c.operand("value");
  for (const char* name : {"query", "value", "key"})
    if (c.has(name) && c.operand(name).dims.size() != 2)
      c.fail(1, std::string("multi_head_attention needs sequences [times, features], but its ") + name + " is " +
                    to_string(c.operand(name)));
  if (c.has("key") && c.operand("key").dims[0] != value.dims[0])
    c.fail(2, "key has " + std::to_string(c.operand("key").dims[0]) + " times and value " +
                  std::to_string(value.dims[0]) + ", but each key belongs to a value");
  if (query.dtype != DType::f32) c.fail(0, "multi_head_attention computes in f32");
}

void infer(InferContext& c) {
  check_sequences(c);
  const TensorType &query = c.operand("query"), &value = c.operand("value"),
                   &key = c.operand(c.has("key") ? "key" : "value");
  const Attributes& attributes = c.attributes();
  const std::int64_t heads = attributes.integer("num_heads"), key_dim = attributes.integer("key_dim");
  const std::int64_t value_dim = attributes.has("value_dim") ? attributes.integer("value_dim") : key_dim;
  const auto project = [&](const std::string& name, const Dims& kernel, std::string_view axes, const Dims& bias) {
    c.parameter(name + "_kernel", kernel, axes);
    if (attributes.flag("use_bias")) c.parameter(name + "_bias", bias, bias.size() == 1 ? "o" : "ho");
  };
  project("query", {query.dims[1], heads, key_dim}, "iho", {heads, key_dim});
  project("key", {key.dims[1], heads, key_dim}, "iho", {heads, key_dim});
  project("value", {value.dims[1], heads, value_dim}, "iho", {heads, value_dim});
  project("output", {heads, value_dim, query.dims[1]}, "hio", {query.dims[1]});
  const std::int64_t times = query.dims[0], sources = value.dims[0];
  c.result("output", query);
  c.result("query_heads", batched({times, heads, key_dim}));
  c.result("key_heads", batched({sources, heads, key_dim}));
  c.result("value_heads", batched({sources, heads, value_dim}));
  c.result("probabilities", batched({heads, times, sources}));
  c.result("context", batched({times, heads, value_dim}));
}

/// [in, heads, size] as the kernel of a dense layer, [heads, size, out] as well.
Dims joined_heads(const Dims& kernel, bool output) {
  return output ? Dims{kernel[0] * kernel[1], kernel[2]} : Dims{kernel[0], kernel[1] * kernel[2]};
}

/// [B, times, heads, size] as rows of heads · size.
Dims joined_rows(const Shape& heads) {
  return {heads.dims[0] * heads.dims[1], element_count(heads.dims) / (heads.dims[0] * heads.dims[1])};
}

void lower_projection(LowerContext& c, const std::string& of, const std::string& from, const std::string& to) {
  const bool output = of == "output";
  const Dims kernel_dims = joined_heads(c.operand(of + "_kernel").shape.dims, output);
  const std::int64_t rows = element_count(c.operand(from).shape.dims) / kernel_dims[0];
  KernelBuilder kernel = c.kernel("inner_product_forward");
  kernel.read_as("src", from, {rows, kernel_dims[0]}, "nc")
      .read_as("weights", of + "_kernel", kernel_dims, "io", "any");
  if (c.has(of + "_bias")) kernel.read_as("bias", of + "_bias", {kernel_dims[1]}, "o");
  kernel.write_as("dst", to, {rows, kernel_dims[1]}, "nc").emit();
}

void lower(LowerContext& c) {
  lower_projection(c, "query", "query", "query_heads");
  lower_projection(c, "key", c.has("key") ? "key" : "value", "key_heads");
  lower_projection(c, "value", "value", "value_heads");
  c.kernel("attention")
      .read("query", "query_heads", "nhwc")
      .read("key", "key_heads", "nhwc")
      .read("value", "value_heads", "nhwc")
      .write("probabilities", "probabilities", "nhwc")
      .write("dst", "context", "nhwc")
      .set("causal", c.attributes().flag("use_causal_mask"))
      .emit();
  lower_projection(c, "output", "context", "output");
}

// ---- the oracle

/// to [rows, units] = from [rows, in] · kernel [in, units] + bias
void project(ReferenceContext& c, const std::string& of, const Array& from, Array& to) {
  const Array& kernel = c.operand(of + "_kernel");
  const std::int64_t in = of == "output" ? kernel.dims[0] * kernel.dims[1] : kernel.dims[0];
  const std::int64_t units = kernel.count() / in;
  for (std::int64_t row = 0; row < from.count() / in; ++row)
    for (std::int64_t o = 0; o < units; ++o) {
      double sum = c.has(of + "_bias") ? c.operand(of + "_bias")[o] : 0;
      for (std::int64_t i = 0; i < in; ++i) sum += from[row * in + i] * kernel[i * units + o];
      to[row * units + o] = sum;
    }
}

/// P[b, h, t, ·] of queries and keys.
void attend(const Array& query, const Array& key, std::int64_t b, std::int64_t h, std::int64_t t, bool causal,
            Array& probabilities) {
  const std::int64_t seen = causal ? std::min(t + 1, key.dims[1]) : key.dims[1];
  std::vector<double> scores(static_cast<std::size_t>(seen));
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (std::int64_t s = 0; s < seen; ++s) {
    double score = 0;
    for (std::int64_t i = 0; i < key.dims[3]; ++i) score += query.at({b, t, h, i}) * key.at({b, s, h, i});
    scores[static_cast<std::size_t>(s)] = score / std::sqrt(static_cast<double>(key.dims[3]));
    most = std::max(most, scores[static_cast<std::size_t>(s)]);
  }
  for (double score : scores) sum += std::exp(score - most);
  for (std::int64_t s = 0; s < seen; ++s)
    probabilities.at({b, h, t, s}) = std::exp(scores[static_cast<std::size_t>(s)] - most) / sum;
}

void reference(ReferenceContext& c) {
  Array &query = c.result("query_heads"), &key = c.result("key_heads"), &value = c.result("value_heads");
  Array &probabilities = c.result("probabilities"), &context = c.result("context");
  project(c, "query", c.operand("query"), query);
  project(c, "key", c.operand(c.has("key") ? "key" : "value"), key);
  project(c, "value", c.operand("value"), value);
  for (std::int64_t b = 0; b < query.dims[0]; ++b)
    for (std::int64_t h = 0; h < query.dims[2]; ++h)
      for (std::int64_t t = 0; t < query.dims[1]; ++t) {
        attend(query, key, b, h, t, c.attributes().flag("use_causal_mask"), probabilities);
        for (std::int64_t s = 0; s < value.dims[1]; ++s)
          for (std::int64_t i = 0; i < value.dims[3]; ++i)
            context.at({b, t, h, i}) += probabilities.at({b, h, t, s}) * value.at({b, s, h, i});
      }
  project(c, "output", context, c.result());
}

// ---- gradient by the heads: of queries, keys and values behind their projections

void heads_infer(InferContext& c) {
  c.result("d_query", c.operand("query_heads"));
  c.result("d_key", c.operand("key_heads"));
  c.result("d_value", c.operand("value_heads"));
}
void heads_lower(LowerContext& c) {
  c.kernel("attention_gradient")
      .read("query", "query_heads", "nhwc")
      .read("key", "key_heads", "nhwc")
      .read("value", "value_heads", "nhwc")
      .read("probabilities", "probabilities", "nhwc")
      .read("d_dst", "d_context", "nhwc")
      .write("d_query", "d_query", "nhwc")
      .write("d_key", "d_key", "nhwc")
      .write("d_value", "d_value", "nhwc")
      .set("causal", c.attributes().flag("use_causal_mask"))
      .emit();
}
void heads_reference(ReferenceContext& c) {
  const Array &query = c.operand("query_heads"), &key = c.operand("key_heads"), &value = c.operand("value_heads");
  const Array &p = c.operand("probabilities"), &d = c.operand("d_context");
  const double scale = 1 / std::sqrt(static_cast<double>(key.dims[3]));
  for (std::int64_t b = 0; b < p.dims[0]; ++b)
    for (std::int64_t h = 0; h < p.dims[1]; ++h)
      for (std::int64_t t = 0; t < p.dims[2]; ++t) {
        std::vector<double> by_probability(static_cast<std::size_t>(p.dims[3]));
        double mean = 0;
        for (std::int64_t s = 0; s < p.dims[3]; ++s) {
          double& slope = by_probability[static_cast<std::size_t>(s)];
          for (std::int64_t i = 0; i < value.dims[3]; ++i) {
            slope += d.at({b, t, h, i}) * value.at({b, s, h, i});
            c.result("d_value").at({b, s, h, i}) += p.at({b, h, t, s}) * d.at({b, t, h, i});
          }
          mean += p.at({b, h, t, s}) * slope;
        }
        for (std::int64_t s = 0; s < p.dims[3]; ++s)
          for (std::int64_t i = 0; i < key.dims[3]; ++i) {
            const double score = scale * p.at({b, h, t, s}) * (by_probability[static_cast<std::size_t>(s)] - mean);
            c.result("d_query").at({b, t, h, i}) += score * key.at({b, s, h, i});
            c.result("d_key").at({b, s, h, i}) += score * query.at({b, t, h, i});
          }
      }
}
const OpDef multi_head_attention_gradient_heads{
    .name = "multi_head_attention.gradient_heads",
    .summary = "gradient of multi_head_attention by its projected queries, keys and values",
    .equation =
        "d_value = Pᵀ · d_context; with D = d_context · valueᵀ and S = P (D - sum over s of P · D) / sqrt(key_dim): "
        "d_query = S · key, d_key = Sᵀ · query",
    .role = Role::internal,
    .operands = {{"query_heads"}, {"key_heads"}, {"value_heads"}, {"probabilities"}, {"d_context"}},
    .results = {"d_query", "d_key", "d_value"},
    .infer = heads_infer,
    .no_gradient = true,
    .lower = heads_lower,
    .reference = heads_reference,
};

// ---- gradient of a projection by what it reads

/// The kernel's last axes are the units; `d` has them too, and the axes before them are the input's.
void input_infer(InferContext& c) {
  const TensorType &d = c.operand("d"), &kernel = c.operand("kernel");
  const std::int64_t times = d.dims[0];
  if (c.attributes().flag("of_output"))
    c.result("gradient", batched({times, kernel.dims[0], kernel.dims[1]}));
  else
    c.result("gradient", batched({times, kernel.dims[0]}));
}
void input_lower(LowerContext& c) {
  const Dims kernel = joined_heads(c.operand("kernel").shape.dims, c.attributes().flag("of_output"));
  const std::int64_t rows = element_count(c.operand("d").shape.dims) / kernel[1];
  c.kernel("inner_product_backward_data")
      .read_as("diff_dst", "d", {rows, kernel[1]}, "nc")
      .read_as("weights", "kernel", kernel, "io", "any")
      .write_as("diff_src", "gradient", {rows, kernel[0]}, "nc")
      .emit();
}
void input_reference(ReferenceContext& c) {
  const Array &d = c.operand("d"), &kernel = c.operand("kernel");
  const Dims sizes = joined_heads(kernel.dims, c.attributes().flag("of_output"));
  Array& result = c.result("gradient");
  for (std::int64_t row = 0; row < d.count() / sizes[1]; ++row)
    for (std::int64_t i = 0; i < sizes[0]; ++i)
      for (std::int64_t o = 0; o < sizes[1]; ++o)
        result[row * sizes[0] + i] += d[row * sizes[1] + o] * kernel[i * sizes[1] + o];
}
const OpDef multi_head_attention_gradient_input{
    .name = "multi_head_attention.gradient_input",
    .summary = "gradient of a projection of multi_head_attention by its input",
    .equation = "gradient = d · kernelᵀ",
    .role = Role::internal,
    .operands = {{"d"}, {"kernel"}},
    .results = {"gradient"},
    .infer = input_infer,
    .no_gradient = true,
    .lower = input_lower,
    .reference = input_reference,
};

// ---- gradient of a projection by its kernel and bias

void parameters_infer(InferContext& c) {
  const TensorType &input = c.operand("input"), &d = c.operand("d");
  Dims kernel = input.dims, bias = d.dims;
  kernel.erase(kernel.begin());  // without the times
  bias.erase(bias.begin());
  kernel.insert(kernel.end(), bias.begin(), bias.end());
  c.result("d_kernel", unbatched(kernel));
  if (c.attributes().flag("use_bias")) c.result("d_bias", unbatched(bias));
}
void parameters_lower(LowerContext& c) {
  const bool output = c.attributes().flag("of_output");
  const Dims input = output ? joined_rows(c.operand("input").shape) : rows_of(c.operand("input").shape);
  const Dims d = output ? rows_of(c.operand("d").shape) : joined_rows(c.operand("d").shape);
  KernelBuilder kernel = c.kernel("inner_product_backward_weights");
  kernel.read_as("src", "input", input, "nc")
      .read_as("diff_dst", "d", d, "nc")
      .write_as("diff_weights", "d_kernel", {input[1], d[1]}, "io", "any");
  if (c.attributes().flag("use_bias")) kernel.write_as("diff_bias", "d_bias", {d[1]}, "o");
  kernel.emit();
}
void parameters_reference(ReferenceContext& c) {
  const Array &input = c.operand("input"), &d = c.operand("d");
  Array& kernel = c.result("d_kernel");
  const std::int64_t rows = input.dims[0] * input.dims[1], in = input.count() / rows, out = d.count() / rows;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) kernel[i * out + o] += input[row * in + i] * d[row * out + o];
      if (c.attributes().flag("use_bias")) c.result("d_bias")[o] += d[row * out + o];
    }
}
const OpDef multi_head_attention_gradient_parameters{
    .name = "multi_head_attention.gradient_parameters",
    .summary = "gradient of a projection of multi_head_attention by its kernel and bias",
    .equation = "d_kernel = inputᵀ · d; d_bias = sum over rows of d",
    .role = Role::internal,
    .operands = {{"input"}, {"d"}},
    .results = {"d_kernel", "d_bias"},
    .infer = parameters_infer,
    .no_gradient = true,
    .lower = parameters_lower,
    .reference = parameters_reference,
};

// ---- gradient by the bias of the keys
//
// It adds one number to all scores of a row, which changes no probability: its gradient is 0. Computed from the keys'
// gradient it would be the rounding of that 0, which Adam scales up to steps of its whole rate.

void key_bias_infer(InferContext& c) { c.result("gradient", c.operand("bias")); }
void key_bias_lower(LowerContext& c) {
  const Dims all{element_count(c.operand("bias").shape.dims)};
  c.kernel("pointwise")
      .read_as("a", "bias", all, "o")
      .write_as("out", "gradient", all, "o")
      .set("expression", std::string("where(a > 0, 0, 0)"))
      .emit();
}
void key_bias_reference(ReferenceContext&) {}  // results begin as zeros
const OpDef multi_head_attention_gradient_key_bias{
    .name = "multi_head_attention.gradient_key_bias",
    .summary = "gradient of multi_head_attention by the bias of its keys",
    .equation = "gradient = 0",
    .role = Role::internal,
    .operands = {{"bias"}},
    .results = {"gradient"},
    .infer = key_bias_infer,
    .no_gradient = true,
    .lower = key_bias_lower,
    .reference = key_bias_reference,
};

// ---- all of it, from the output to the inputs

class Backward {
 public:
  explicit Backward(GradientContext& c) : c_(c) {}

  void run() {
    const ValueId d = c_.gradient();
    parameters("output", c_.result("context"), d);
    if (!wants_side("query") && !wants_side("key") && !wants_side("value")) return;
    const ValueId context = input("output", d);
    const auto heads =
        c_.emit(multi_head_attention_gradient_heads, {c_.result("query_heads"), c_.result("key_heads"),
                                                      c_.result("value_heads"), c_.result("probabilities"), context});
    const bool key_is_value = c_.operand("key") == none;
    const char* keys = key_is_value ? "value" : "key";
    parameters("query", c_.operand("query"), heads[0]);
    parameters("key", c_.operand(keys), heads[1]);
    parameters("value", c_.operand("value"), heads[2]);
    if (c_.wants("key_bias"))
      c_.set("key_bias", c_.emit(multi_head_attention_gradient_key_bias, {c_.operand("key_bias")}, Attributes())[0]);
    if (c_.wants("query")) c_.set("query", input("query", heads[0]));
    if (!key_is_value && c_.wants("key")) c_.set("key", input("key", heads[1]));
    if (!c_.wants("value")) return;
    const ValueId by_value = input("value", heads[2]);
    if (!key_is_value)
      c_.set("value", by_value);
    else
      c_.set("value", c_.emit(structural_op("add_gradients"), {input("key", heads[1]), by_value}, Attributes())[0]);
  }

 private:
  bool wants_side(const std::string& side) const {
    return c_.wants(side + "_kernel") || c_.wants(side + "_bias") || c_.wants(side);
  }

  Attributes attributes(const std::string& projection) const {
    Attributes given;
    given.set("use_bias", c_.attributes().flag("use_bias") && projection != "key");
    given.set("of_output", projection == "output");
    return given;
  }

  ValueId input(const std::string& projection, ValueId d) {
    return c_.emit(multi_head_attention_gradient_input, {d, c_.operand(projection + "_kernel")},
                   attributes(projection))[0];
  }

  void parameters(const std::string& projection, ValueId input, ValueId d) {
    if (!c_.wants(projection + "_kernel") && !c_.wants(projection + "_bias")) return;
    const auto results = c_.emit(multi_head_attention_gradient_parameters, {input, d}, attributes(projection));
    if (c_.wants(projection + "_kernel")) c_.set(projection + "_kernel", results[0]);
    if (c_.wants(projection + "_bias") && projection != "key") c_.set(projection + "_bias", results[1]);
  }

  GradientContext& c_;
};

void gradient(GradientContext& c) { Backward(c).run(); }

/// Of the key, so that a constant softmax hides no mistake: values differ from time to time.
Example sequences(std::string_view name, std::vector<TensorType> inputs, std::int64_t heads, std::int64_t key_dim) {
  return {.name = name, .inputs = std::move(inputs), .attributes = {{"num_heads", heads}, {"key_dim", key_dim}}};
}

std::vector<Example> examples() {
  std::vector<Example> list;
  list.push_back(sequences("cross", {batched({3, 5}), batched({4, 7})}, 2, 3));
  list.push_back(sequences("three_inputs", {batched({3, 5}), batched({4, 7}), batched({4, 2})}, 3, 2));
  list.back().attributes.set("value_dim", std::int64_t{5});
  list.push_back(sequences("one_head_no_bias", {batched({2, 4}), batched({5, 4})}, 1, 3));
  list.back().attributes.set("use_bias", false);
  list.push_back(sequences("causal", {batched({5, 3}), batched({4, 3})}, 2, 2));
  list.back().attributes.set("use_causal_mask", true);
  list.push_back(sequences("wide", {batched({7, 6}), batched({17, 6})}, 2, 16));
  list.push_back(sequences("one_of_each", {batched({1, 1}), batched({1, 1})}, 1, 1));
  list.back().batch = 1;
  return list;
}

}  // namespace

extern const OpDef multi_head_attention;
const OpDef multi_head_attention{
    .name = "multi_head_attention",
    .summary = "each time of a sequence reads a mixture of another's, weighted by likeness, in several heads",
    .equation =
        "output = concat over heads of (softmax(Q · Kᵀ / sqrt(key_dim)) · V) · output_kernel + output_bias, with "
        "Q = query · query_kernel + query_bias, K = key · key_kernel + key_bias, "
        "V = value · value_kernel + value_bias; key is the value where it is left out",
    .operands = {{"query"},
                 {"value"},
                 {"key", OperandKind::value, true},
                 {"query_kernel", OperandKind::parameter},
                 {"query_bias", OperandKind::parameter, true},
                 {"key_kernel", OperandKind::parameter},
                 {"key_bias", OperandKind::parameter, true},
                 {"value_kernel", OperandKind::parameter},
                 {"value_bias", OperandKind::parameter, true},
                 {"output_kernel", OperandKind::parameter},
                 {"output_bias", OperandKind::parameter, true}},
    .results = {"output", "query_heads", "key_heads", "value_heads", "probabilities", "context"},
    .attributes =
        {{.name = "num_heads", .type = AttributeType::integer, .doc = "number of heads", .least = 1},
         {.name = "key_dim", .type = AttributeType::integer, .doc = "size of a head's queries and keys", .least = 1},
         {.name = "value_dim",
          .type = AttributeType::integer,
          .doc = "size of a head's values; left out, the key_dim",
          .optional = true,
          .least = 1},
         {.name = "dropout", .doc = "share of the probabilities that are dropped", .optional = true, .later = true},
         {.name = "use_bias", .type = AttributeType::flag, .doc = "add a bias to each projection", .standard = true},
         {.name = "use_causal_mask",
          .type = AttributeType::flag,
          .doc = "a time sees no later time of the values",
          .standard = false},
         {.name = "kernel_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the four kernels",
          .standard = Initializer{"glorot_uniform", {}, {}}},
         {.name = "bias_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the four biases",
          .standard = Initializer{"zeros", {}, {}}}},
    .constraints = {"C1: query, value and key are sequences [times, features]",
                    "C2: key and value have the same number of times"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = examples(),
    .internals = {&multi_head_attention_gradient_heads, &multi_head_attention_gradient_input,
                  &multi_head_attention_gradient_parameters, &multi_head_attention_gradient_key_bias},
};

}  // namespace weir::ops
