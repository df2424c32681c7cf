// A 3 × 3 convolution over an image that was enlarged twofold by repeating its pixels, computed from the small image.
//
// Output pixel (2i + p, 2j + q), p and q 0 or 1, sees under its window the small image's rows i + p - 1 and i + p
// alone, some of them twice, and so with columns. So each of the four *phases* (p, q) is a 2 × 2 convolution of the
// small image, whose taps are sums of the 3 × 3 kernel's:
//   phase_kernel[s, t, c, (p, q, o)] = sum of kernel[a, b, c, o] over (a + 1 - p) / 2 = s, (b + 1 - q) / 2 = t, rounded
//                                      down
//   phases[i, j, (p, q, o)] = sum over s, t, c of input[i + s - 1, j + t - 1, c] · phase_kernel[s, t, c, (p, q, o)]
//   output[2i + p, 2j + q, o] = bias[o] + phases[i + p, j + q, (p, q, o)]
// 4 products instead of 9, and the enlarged image is never made. A second image of the output's size that was joined to
// the enlarged one along the channels, `rest`, has its own part of the kernel and is convolved as usual; the two add
// up. Outside the small image lies zero just where the enlarged one's padding did.
#include "compiler/ops/convolution.hpp"

namespace weir::ops {
namespace {

Attributes unit_steps(std::int64_t window) {
  return {{"kernel_size", Dims{window, window}},
          {"strides", Dims{1, 1}},
          {"dilation_rate", Dims{1, 1}},
          {"padding", Dims{1, 1, 1, 1}},
          {"groups", std::int64_t{1}}};
}

// --- Where it takes a convolution's place

/// The image that the value is a twofold enlargement of; none where it is something else.
ValueId small_image(const InsteadContext& c, ValueId value) {
  const Node* layer = c.producer(value);
  if (!layer || layer->op->name != "up_sampling2d") return none;
  const Attributes& a = layer->attributes;
  return a.integers("size") == Dims{2, 2} && a.word("interpolation") == "nearest" ? layer->operands[0] : none;
}

/// What is convolved: a small image, and perhaps another one joined to its enlargement.
struct Parts {
  ValueId small = none, rest = none;
  bool small_first = true;  ///< of the kernel's channels
};

Parts parts_of(const InsteadContext& c, ValueId input) {
  Parts parts{small_image(c, input)};
  if (parts.small != none) return parts;
  const Node* join = c.producer(input);
  if (!join || join->op->name != "concatenate" || join->attributes.integer("axis") != -1 || join->operands.size() != 2)
    return parts;
  for (std::size_t i = 0; i < 2 && parts.small == none; ++i)
    parts = {small_image(c, join->operands[i]), join->operands[1 - i], i == 0};
  return parts;
}

/// Of the products over the small image some are for pixels outside of the large one; and the phases must be put
/// together, which few channels do not pay for.
bool is_worthwhile(const TensorType& small) {
  const std::int64_t height = small.dims[0], width = small.dims[1];
  return small.dims[2] >= 4 && 4 * (height + 1) * (width + 1) <= 7 * height * width;
}

}  // namespace

extern const OpDef enlarged_conv2d;

std::optional<Instead> of_enlarged(const InsteadContext& c) {
  const Attributes& a = c.attributes();
  const ValueId input = c.operand("input");
  const bool steps_by_one = a.integers("strides") == Dims{1, 1} && a.integers("dilation_rate") == Dims{1, 1};
  if (!steps_by_one || a.integer("groups") != 1 || a.integers("kernel_size") != Dims{3, 3}) return {};
  if (convolution_window(c.type(input).dims, a).padding() != Dims{1, 1, 1, 1}) return {};
  const Parts parts = parts_of(c, input);
  if (parts.small == none || !is_worthwhile(c.type(parts.small))) return {};
  return Instead{&enlarged_conv2d,
                 {parts.small, c.operand("kernel"), c.operand("bias"), parts.rest},
                 {{"small_first", parts.small_first}, {"use_bias", a.flag("use_bias")}}};
}

namespace {

// --- Forward

/// Extents of one node, from what it reads; channels of the kernel that belong to either image.
struct Extents {
  Extents(const Dims& small, const Dims& kernel, const Attributes& attributes)
      : channels(small.back()), rest(kernel[2] - channels), filters(kernel[3]) {
    small_start = attributes.flag("small_first") ? 0 : rest;
    rest_start = attributes.flag("small_first") ? channels : 0;
  }
  Dims phase_kernel() const { return {2, 2, channels, 4 * filters}; }
  Dims rest_kernel() const { return {3, 3, rest, filters}; }

  std::int64_t channels, rest, filters, small_start, rest_start;
};

Extents extents_of(const InferContext& c) {
  return {c.operand("input").dims, c.operand("kernel").dims, c.attributes()};
}
Extents extents_of(const LowerContext& c) {
  return {c.operand("input").shape.dims, c.operand("kernel").shape.dims, c.attributes()};
}

void infer(InferContext& c) {
  const Extents extents = extents_of(c);
  const Dims& small = c.operand("input").dims;
  const TensorType output = batched({2 * small[0], 2 * small[1], extents.filters});
  c.result("output", output);
  c.result("linear", output);
  c.result("phases", batched({small[0] + 1, small[1] + 1, 4 * extents.filters}));
  c.result("phase_kernel", unbatched(extents.phase_kernel()));
  if (!c.has("rest")) return;
  c.result("rest_kernel", unbatched(extents.rest_kernel()));
  c.result("rest_output", output);
}

KernelBuilder& with_unit_steps(KernelBuilder& kernel) {
  return kernel.set("strides", Dims{1, 1})
      .set("dilation", Dims{1, 1})
      .set("padding", Dims{1, 1, 1, 1})
      .set("groups", std::int64_t{1});
}

/// One layout for all images, for the same reason as image_layout, and so that phases come apart in whole blocks.
std::string common_layout(const LowerContext& c, std::initializer_list<LoweredType> images) {
  std::string layout = c.activation_layout(*images.begin());
  for (const LoweredType& image : images)
    if (c.activation_layout(image) != layout) return image.shape.axes;
  return layout;
}

void split_kernel(LowerContext& c, const Extents& extents) {
  KernelBuilder kernel = c.kernel("phase_kernel");
  kernel.read_as("kernel", "kernel", c.operand("kernel").shape.dims, "hwio")
      .write_as("phases", "phase_kernel", extents.phase_kernel(), "hwio");
  if (c.has("rest")) kernel.write_as("rest", "rest_kernel", extents.rest_kernel(), "hwio");
  kernel.set("small_first", c.attributes().flag("small_first")).emit();
}

void convolve(LowerContext& c, const char* image, const char* weights, const Dims& kernel_dims, const char* result,
              const std::string& layout) {
  KernelBuilder kernel = c.kernel("convolution_forward");
  kernel.read("src", image, layout)
      .read_as("weights", weights, kernel_dims, "hwio", "any")
      .write("dst", result, layout);
  with_unit_steps(kernel).emit();
}

void lower(LowerContext& c) {
  const Extents extents = extents_of(c);
  const LoweredType output = c.result("output");
  const std::string layout = common_layout(c, {c.operand("input"), c.result("phases"), output});
  const OpDef* post = c.node().post_op;
  const bool relu = post && post->post_op == "relu";
  split_kernel(c, extents);
  convolve(c, "input", "phase_kernel", extents.phase_kernel(), "phases", layout);
  if (c.has("rest")) convolve(c, "rest", "rest_kernel", extents.rest_kernel(), "rest_output", layout);
  KernelBuilder join = c.kernel("join_phases");
  join.read("phases", "phases", layout);
  if (c.has("rest")) join.read("rest", "rest_output", layout);
  if (c.has("bias")) join.read("bias", "bias");
  join.write("dst", post && !relu ? "linear" : "output", layout).set("relu", relu).emit();
  if (post && !relu)
    c.kernel("eltwise_forward")
        .read("src", "linear", layout)
        .write("dst", "output", layout)
        .set("algorithm", std::string(post->post_op))
        .emit();
}

/// Calls visit(index into kernel, index into phase_kernel) for every tap of every phase.
template <class Visit>
void for_each_phase_tap(const Dims& kernel, const Extents& extents, Visit visit) {
  for (std::int64_t phase = 0; phase < 4; ++phase)
    for (std::int64_t tap = 0; tap < 9; ++tap) {
      const std::int64_t row = (tap / 3 + 1 - phase / 2) / 2, column = (tap % 3 + 1 - phase % 2) / 2;
      for (std::int64_t channel = 0; channel < extents.channels; ++channel)
        for (std::int64_t filter = 0; filter < extents.filters; ++filter)
          visit((tap * kernel[2] + extents.small_start + channel) * extents.filters + filter,
                (((row * 2 + column) * extents.channels + channel) * 4 + phase) * extents.filters + filter);
    }
}

/// Calls visit(index into an image of the output's size, index into phases) for every pixel and channel.
template <class Visit>
void for_each_phase_pixel(const Dims& output, const Dims& phases, Visit visit) {
  for (std::int64_t sample = 0; sample < output[0]; ++sample)
    for (std::int64_t y = 0; y < output[1]; ++y)
      for (std::int64_t x = 0; x < output[2]; ++x)
        for (std::int64_t filter = 0; filter < output[3]; ++filter)
          visit(pixel(output, sample, y, x) + filter,
                pixel(phases, sample, y / 2 + y % 2, x / 2 + x % 2) + (y % 2 * 2 + x % 2) * output[3] + filter);
}

/// Calls visit(index into kernel, index into rest_kernel).
template <class Visit>
void for_each_rest_tap(const Dims& kernel, const Extents& extents, Visit visit) {
  for (std::int64_t tap = 0; tap < 9; ++tap)
    for (std::int64_t i = 0; i < extents.rest * extents.filters; ++i)
      visit((tap * kernel[2] + extents.rest_start) * extents.filters + i, tap * extents.rest * extents.filters + i);
}

void reference(ReferenceContext& c) {
  const Array& kernel = c.operand("kernel");
  Array &output = c.result(), &phases = c.result("phases"), &phase_kernel = c.result("phase_kernel");
  const Extents extents(c.operand("input").dims, kernel.dims, c.attributes());
  for_each_phase_tap(kernel.dims, extents,
                     [&](std::int64_t from, std::int64_t to) { phase_kernel[to] += kernel[from]; });
  for_each_product(
      c.operand("input").dims, phases.dims, unit_steps(2),
      [&](std::int64_t x, std::int64_t w, std::int64_t y) { phases[y] += c.operand("input")[x] * phase_kernel[w]; });
  for_each_phase_pixel(output.dims, phases.dims, [&](std::int64_t to, std::int64_t from) {
    output[to] = phases[from] + (c.has("bias") ? c.operand("bias")[to % extents.filters] : 0);
  });
  if (c.has("rest")) {
    Array &rest = c.result("rest_output"), &rest_kernel = c.result("rest_kernel");
    for_each_rest_tap(kernel.dims, extents,
                      [&](std::int64_t from, std::int64_t to) { rest_kernel[to] = kernel[from]; });
    for_each_product(
        c.operand("rest").dims, rest.dims, unit_steps(3),
        [&](std::int64_t x, std::int64_t w, std::int64_t y) { rest[y] += c.operand("rest")[x] * rest_kernel[w]; });
    for (std::int64_t i = 0; i < output.count(); ++i) output[i] += rest[i];
  }
  c.result("linear").data = output.data;
}

// --- Gradients

void split_infer(InferContext& c) {
  const Dims& large = c.operand("d_output").dims;
  c.result("gradient", batched({large[0] / 2 + 1, large[1] / 2 + 1, 4 * large[2]}));
}
void split_lower(LowerContext& c) {
  const std::string layout = common_layout(c, {c.operand("d_output"), c.result("gradient")});
  c.kernel("split_phases").read("src", "d_output", layout).write("dst", "gradient", layout).emit();
}
void split_reference(ReferenceContext& c) {
  for_each_phase_pixel(c.operand("d_output").dims, c.result("gradient").dims, [&](std::int64_t from, std::int64_t to) {
    c.result("gradient")[to] = c.operand("d_output")[from];
  });
}
const OpDef gradient_phases{
    .name = "enlarged_conv2d.gradient_phases",
    .summary = "gradient of enlarged_conv2d by its phases",
    .equation = "d_phases[i + p, j + q, (p, q, o)] = d_output[2i + p, 2j + q, o], 0 where there is no such pixel",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = split_infer,
    .no_gradient = true,
    .lower = split_lower,
    .reference = split_reference,
};

/// By the image that the weights were convolved with.
void image_infer(InferContext& c, const char* image) { c.result("gradient", c.forward_operand(image)); }
void image_lower(LowerContext& c) {
  const LoweredType image = c.result("gradient");
  const std::string layout = common_layout(c, {image, c.operand("d_convolved")});
  KernelBuilder kernel = c.kernel("convolution_backward_data");
  kernel.read("diff_dst", "d_convolved", layout)
      .read_as("weights", "weights", c.operand("weights").shape.dims, "hwio", "any")
      .write("diff_src", "gradient", layout);
  with_unit_steps(kernel).emit();
}
void image_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_convolved"), &w = c.operand("weights");
  for_each_product(c.result("gradient").dims, d.dims, unit_steps(w.dims[0]),
                   [&](std::int64_t x, std::int64_t wi, std::int64_t y) { c.result("gradient")[x] += d[y] * w[wi]; });
}
const OpDef gradient_input{
    .name = "enlarged_conv2d.gradient_input",
    .summary = "gradient of enlarged_conv2d by its small image",
    .equation = "d_input[cell] = sum over windows on the cell of d_phases[window] · phase_kernel[its position in it]",
    .role = Role::internal,
    .operands = {{"d_convolved"}, {"weights"}},
    .results = {"gradient"},
    .infer = [](InferContext& c) { image_infer(c, "input"); },
    .no_gradient = true,
    .lower = image_lower,
    .reference = image_reference,
};
const OpDef gradient_rest{
    .name = "enlarged_conv2d.gradient_rest",
    .summary = "gradient of enlarged_conv2d by the image joined to the enlarged one",
    .equation = "d_rest[cell] = sum over windows on the cell of d_output[window] · rest_kernel[its position in it]",
    .role = Role::internal,
    .operands = {{"d_convolved"}, {"weights"}},
    .results = {"gradient"},
    .infer = [](InferContext& c) { image_infer(c, "rest"); },
    .no_gradient = true,
    .lower = image_lower,
    .reference = image_reference,
};

void parameters_infer(InferContext& c) {
  const TensorType& kernel = c.forward_operand("kernel");
  const Extents extents(c.operand("input").dims, kernel.dims, c.attributes());
  c.result("d_kernel", kernel);
  c.result("d_phase_kernel", unbatched(extents.phase_kernel()));
  if (c.attributes().flag("use_bias")) {
    c.result("d_phase_bias", unbatched({4 * extents.filters}));
    c.result("d_bias", c.forward_operand("bias"));
  }
  if (c.has("rest")) c.result("d_rest_kernel", unbatched(extents.rest_kernel()));
}

void sum_up(LowerContext& c, const char* image, const char* d_convolved, const Dims& kernel_dims, const char* result,
            bool bias) {
  const std::string layout = common_layout(c, {c.operand(image), c.operand(d_convolved)});
  KernelBuilder kernel = c.kernel("convolution_backward_weights");
  kernel.read("src", image, layout)
      .read("diff_dst", d_convolved, layout)
      .write_as("diff_weights", result, kernel_dims, "hwio", "any");
  if (bias) kernel.write_as("diff_bias", "d_phase_bias", {kernel_dims[3]}, "o");
  with_unit_steps(kernel).emit();
}

void parameters_lower(LowerContext& c) {
  const Dims kernel = c.result("d_kernel").shape.dims;
  const Extents extents(c.operand("input").shape.dims, kernel, c.attributes());
  const bool bias = c.attributes().flag("use_bias");
  sum_up(c, "input", "d_phases", extents.phase_kernel(), "d_phase_kernel", bias);
  if (c.has("rest")) sum_up(c, "rest", "d_output", extents.rest_kernel(), "d_rest_kernel", false);
  KernelBuilder join = c.kernel("phase_kernel_gradient");
  join.read_as("phases", "d_phase_kernel", extents.phase_kernel(), "hwio");
  if (c.has("rest")) join.read_as("rest", "d_rest_kernel", extents.rest_kernel(), "hwio");
  if (bias) join.read_as("phase_bias", "d_phase_bias", {4 * extents.filters}, "o");
  join.write_as("kernel", "d_kernel", kernel, "hwio");
  if (bias) join.write_as("bias", "d_bias", {extents.filters}, "o");
  join.set("small_first", c.attributes().flag("small_first")).emit();
}

void parameters_reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &d_phases = c.operand("d_phases");
  Array &d_kernel = c.result("d_kernel"), &d_phase_kernel = c.result("d_phase_kernel");
  const Extents extents(x.dims, d_kernel.dims, c.attributes());
  for_each_product(x.dims, d_phases.dims, unit_steps(2),
                   [&](std::int64_t xi, std::int64_t w, std::int64_t y) { d_phase_kernel[w] += x[xi] * d_phases[y]; });
  for_each_phase_tap(d_kernel.dims, extents,
                     [&](std::int64_t to, std::int64_t from) { d_kernel[to] += d_phase_kernel[from]; });
  if (c.has("rest")) {
    const Array &rest = c.operand("rest"), &d = c.operand("d_output");
    Array& d_rest = c.result("d_rest_kernel");
    for_each_product(rest.dims, d.dims, unit_steps(3),
                     [&](std::int64_t xi, std::int64_t w, std::int64_t y) { d_rest[w] += rest[xi] * d[y]; });
    for_each_rest_tap(d_kernel.dims, extents, [&](std::int64_t to, std::int64_t from) { d_kernel[to] = d_rest[from]; });
  }
  if (!c.attributes().flag("use_bias")) return;
  Array &d_bias = c.result("d_bias"), &d_phase_bias = c.result("d_phase_bias");
  for (std::int64_t i = 0; i < d_phases.count(); ++i) d_phase_bias[i % d_phase_bias.count()] += d_phases[i];
  for (std::int64_t i = 0; i < d_phase_bias.count(); ++i) d_bias[i % d_bias.count()] += d_phase_bias[i];
}
const OpDef gradient_parameters{
    .name = "enlarged_conv2d.gradient_parameters",
    .summary = "gradient of enlarged_conv2d by kernel and bias",
    .equation =
        "d_kernel[a, b] = sum over phases of d_phase_kernel at the tap that kernel[a, b] went into; "
        "d_bias = sum over samples, windows and phases of d_phases",
    .role = Role::internal,
    .operands = {{"input"}, {"d_phases"}, {"rest", OperandKind::value, true}, {"d_output", OperandKind::value, true}},
    .results = {"d_kernel", "d_phase_kernel", "d_phase_bias", "d_bias", "d_rest_kernel"},
    .infer = parameters_infer,
    .no_gradient = true,
    .lower = parameters_lower,
    .reference = parameters_reference,
};

void gradient(GradientContext& c) {
  const ValueId d_output = c.gradient();
  const bool rest = c.operand("rest") != none;
  if (rest && c.wants("rest")) c.set("rest", c.emit(gradient_rest, {d_output, c.result("rest_kernel")})[0]);
  if (!c.wants("input") && !c.wants("kernel")) return;
  const ValueId d_phases = c.emit(gradient_phases, {d_output})[0];
  if (c.wants("input")) c.set("input", c.emit(gradient_input, {d_phases, c.result("phase_kernel")})[0]);
  if (!c.wants("kernel")) return;
  std::vector<ValueId> operands{c.operand("input"), d_phases};
  if (rest) operands.insert(operands.end(), {c.operand("rest"), d_output});
  const auto results = c.emit(gradient_parameters, operands);
  c.set("kernel", results[0]);
  if (c.attributes().flag("use_bias")) c.set("bias", results[3]);
}

}  // namespace

const OpDef enlarged_conv2d{
    .name = "enlarged_conv2d",
    .summary = "3 × 3 convolution over an image enlarged twofold, computed from the small one",
    .equation = "output = conv2d(concatenate(up_sampling2d(input), rest))",
    .role = Role::internal,
    .operands = {{"input"},
                 {"kernel", OperandKind::parameter},
                 {"bias", OperandKind::parameter, true},
                 {"rest", OperandKind::value, true}},
    .results = {"output", "linear", "phases", "phase_kernel", "rest_kernel", "rest_output"},
    .attributes = {{.name = "small_first",
                    .type = AttributeType::flag,
                    .doc = "the kernel's first channels are those of the small image"},
                   {.name = "use_bias", .type = AttributeType::flag, .doc = "add a bias"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .accepts_post_op = true,
    .internals = {&gradient_phases, &gradient_input, &gradient_rest, &gradient_parameters},
};

}  // namespace weir::ops
