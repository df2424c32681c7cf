// What max_pooling2d and average_pooling2d share: keys, shapes and settings of the primitive.
#pragma once

#include "compiler/ir/op.hpp"
#include "compiler/ops/window.hpp"

namespace weir::ops {

/// strides are the pool_size where they are left out.
inline Window pooling_window(const Dims& image, const Attributes& attributes) {
  const Dims& size = attributes.integers("pool_size");
  return window_over(image, size, attributes.has("strides") ? attributes.integers("strides") : size, {1, 1},
                     attributes);
}

inline std::vector<AttributeDef> pooling_attributes() {
  return {{.name = "pool_size",
           .type = AttributeType::sizes,
           .doc = "height and width of the window",
           .standard = Dims{2, 2},
           .least = 1,
           .most = longest_window,
           .count = 2},
          {.name = "strides",
           .type = AttributeType::sizes,
           .doc = "steps of the window; left out, the pool_size",
           .optional = true,
           .least = 1,
           .most = longest_window,
           .count = 2},
          {.name = "padding",
           .type = AttributeType::padding,
           .doc = padding_doc,
           .standard = "valid",
           .least = 0,
           .most = longest_window}};
}

inline std::vector<std::string_view> pooling_constraints() {
  return {"C1: the input is an image [height, width, channels]", "C2: the window fits into the padded input",
          "C3: padding is smaller than the window, so that no window lies in the padding alone"};
}

/// Checks the constraints, writes the type of "output" and returns the window. op: the word for messages.
inline Window infer_pooling(InferContext& c, const std::string& op) {
  TensorType type = c.operand("input");
  if (type.dims.size() != 3)
    c.fail(1, op + " needs an image [height, width, channels], but its input is " + to_string(type));
  const Window window = pooling_window(type.dims, c.attributes());
  if (!window.fits()) c.fail(2, misfit(window) + "; take a smaller pool_size or \"padding\": \"same\"");
  const auto covered = [](const WindowAxis& axis) { return std::max(axis.before, axis.after) >= axis.window; };
  if (covered(window.rows) || covered(window.columns))
    c.fail(3, "padding [top, bottom, left, right] is " + to_string(window.padding()) +
                  ", but on each side it must be " + "smaller than pool_size " +
                  to_string(c.attributes().integers("pool_size")));
  type.dims = {window.rows.output, window.columns.output, type.dims[2]};
  c.result("output", type);
  return window;
}

inline void set_pooling(KernelBuilder& kernel, std::string algorithm, const Window& window) {
  kernel.set("algorithm", std::move(algorithm))
      .set("window", Dims{window.rows.window, window.columns.window})
      .set("strides", Dims{window.rows.stride, window.columns.stride})
      .set("padding", window.padding());
}

/// Calls visit(tap, flat input index, flat output index) for every real cell under every window, in scan order for each
/// output.
template <class Visit>
void for_each_pooled_cell(const Dims& input, const Dims& output, const Attributes& attributes, Visit visit) {
  for_each_tap(pooling_window(input, attributes), [&](const Tap& tap) {
    for (std::int64_t sample = 0; sample < input[0]; ++sample) {
      const std::int64_t in = pixel(input, sample, tap.row, tap.column);
      const std::int64_t out = pixel(output, sample, tap.out_row, tap.out_column);
      for (std::int64_t channel = 0; channel < input[3]; ++channel) visit(tap, in + channel, out + channel);
    }
  });
}

}  // namespace weir::ops
