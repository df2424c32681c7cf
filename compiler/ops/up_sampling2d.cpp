// Each pixel becomes size[0] x size[1] pixels. nearest: repeated. bilinear: a straight line between pixel centres,
// output centre (y + ½) / size - ½ on the input's grid, clamped to it (Keras).
#include <algorithm>
#include <cmath>

#include "compiler/ir/op.hpp"
#include "compiler/ops/window.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  if (type.dims.size() != 3)
    c.fail(1, "up_sampling2d needs an image [height, width, channels], but its input is " + to_string(type));
  const Dims& size = c.attributes().integers("size");
  type.dims[0] *= size[0];
  type.dims[1] *= size[1];
  c.result("output", type);
}

std::string algorithm_of(const Attributes& attributes) {
  return attributes.word("interpolation") == "nearest" ? "nearest" : "linear";
}

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  c.kernel("resampling_forward")
      .read("src", "input", layout)
      .write("dst", "output", layout)
      .set("algorithm", algorithm_of(c.attributes()))
      .emit();
}

/// Where an output pixel reads on one axis: two input pixels and the share of the second.
struct Between {
  Between(std::int64_t out, std::int64_t size, std::int64_t length, bool nearest) {
    const double exact = (static_cast<double>(out) + 0.5) / static_cast<double>(size) - 0.5;
    const double place =
        nearest ? static_cast<double>(out / size) : std::clamp(exact, 0.0, static_cast<double>(length - 1));
    first = static_cast<std::int64_t>(std::floor(place));
    second = std::min(first + 1, length - 1);
    share = place - static_cast<double>(first);
  }
  std::int64_t first, second;
  double share;
};

/// Calls visit(input index, output index, share) for everything that an output is made of.
template <class Visit>
void for_each_part(const Dims& in, const Dims& out, const Attributes& attributes, Visit visit) {
  const Dims& size = attributes.integers("size");
  const bool nearest = attributes.word("interpolation") == "nearest";
  for (std::int64_t sample = 0; sample < out[0]; ++sample)
    for (std::int64_t y = 0; y < out[1]; ++y)
      for (std::int64_t x = 0; x < out[2]; ++x) {
        const Between rows(y, size[0], in[1], nearest), columns(x, size[1], in[2], nearest);
        for (int corner = 0; corner < 4; ++corner) {
          const double share =
              (corner / 2 ? rows.share : 1 - rows.share) * (corner % 2 ? columns.share : 1 - columns.share);
          const std::int64_t from =
              pixel(in, sample, corner / 2 ? rows.second : rows.first, corner % 2 ? columns.second : columns.first);
          for (std::int64_t channel = 0; channel < in[3] && share > 0; ++channel)
            visit(from + channel, pixel(out, sample, y, x) + channel, share);
        }
      }
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  Array& y = c.result();
  for_each_part(x.dims, y.dims, c.attributes(),
                [&](std::int64_t in, std::int64_t out, double share) { y[out] += x[in] * share; });
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("d_output").shape.layout;
  c.kernel("resampling_backward")
      .read("diff_dst", "d_output", layout)
      .write("diff_src", "gradient", layout)
      .set("algorithm", algorithm_of(c.attributes()))
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  Array& result = c.result("gradient");
  for_each_part(result.dims, d.dims, c.attributes(),
                [&](std::int64_t in, std::int64_t out, double share) { result[in] += d[out] * share; });
}
const OpDef up_sampling2d_gradient{
    .name = "up_sampling2d.gradient",
    .summary = "gradient of up_sampling2d",
    .equation = "d_input[pixel] = sum over the outputs that read the pixel of their share · d_output",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(up_sampling2d_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef up_sampling2d;
const OpDef up_sampling2d{
    .name = "up_sampling2d",
    .summary = "images larger by whole factors",
    .equation =
        "nearest: output[y, x] = input[y / size, x / size], rounded down; bilinear: between the nearest centres",
    .operands = {{"input"}},
    .attributes = {{.name = "size",
                    .type = AttributeType::sizes,
                    .doc = "factors of height and width",
                    .standard = Dims{2, 2},
                    .least = 1,
                    .most = 1024,
                    .count = 2},
                   {.name = "interpolation",
                    .type = AttributeType::word,
                    .doc = "each pixel repeated, or straight lines between pixel centres",
                    .standard = std::string("nearest"),
                    .words = {"nearest", "bilinear"}}},
    .constraints = {"C1: the input is an image [height, width, channels]"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "nearest", .inputs = {batched({3, 2, 5})}},
                 {.name = "uneven", .inputs = {batched({2, 3, 16})}, .attributes = {{"size", Dims{3, 1}}}},
                 {.name = "bilinear",
                  .inputs = {batched({3, 4, 8})},
                  .attributes = {{"interpolation", std::string("bilinear")}}},
                 {.name = "bilinear_by_three",
                  .inputs = {batched({2, 3, 1})},
                  .attributes = {{"size", Dims{3, 2}}, {"interpolation", std::string("bilinear")}}},
                 {.name = "single_pixel", .inputs = {batched({1, 1, 3})}, .batch = 1}},
    .internals = {&up_sampling2d_gradient},
};

}  // namespace weir::ops
