// Windows that slide over an image: output sizes, padding, and which cells lie under a window. Keras' rules, for one
// axis of n cells, a window of k cells (dilated: k = (window - 1) · dilation + 1) and stride s:
//   valid, explicit: out = floor((n + before + after - k) / s) + 1
//   same:            out = ceil(n / s), before + after = max(0, (out - 1) · s + k - n), the smaller half in front
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "runtime/attribute.hpp"

namespace weir::ops {

/// Upper bound of window sizes, strides, dilations and paddings; keeps every size below far from overflow.
inline constexpr double longest_window = 1'000'000;

inline constexpr std::string_view padding_doc =
    "valid: none; same: as much as an output for each step over the input needs; [[top, bottom], [left, right]]";

struct WindowAxis {
  std::int64_t input, window, stride, dilation;
  std::int64_t before = 0, after = 0;  ///< padding
  std::int64_t output = 0;             ///< 0 where the window does not fit

  std::int64_t extent() const { return (window - 1) * dilation + 1; }
  /// The input cell under cell `tap` of the window at output `out`: in the padding where below 0 or not below `input`.
  std::int64_t cell(std::int64_t out, std::int64_t tap) const { return out * stride - before + tap * dilation; }
  bool is_real(std::int64_t cell) const { return cell >= 0 && cell < input; }
  /// How many cells under the window are no padding.
  std::int64_t real_cells(std::int64_t out) const {
    std::int64_t count = 0;
    for (std::int64_t tap = 0; tap < window; ++tap) count += is_real(cell(out, tap)) ? 1 : 0;
    return count;
  }

  void pad_explicitly(std::int64_t in_front, std::int64_t behind) {
    before = in_front;
    after = behind;
    const std::int64_t room = input + before + after - extent();
    output = room < 0 ? 0 : room / stride + 1;
  }
  void pad_same() {
    output = (input + stride - 1) / stride;
    const std::int64_t total = std::max<std::int64_t>(0, (output - 1) * stride + extent() - input);
    before = total / 2;
    after = total - before;
  }
};

struct Window {
  WindowAxis rows, columns;
  Dims padding() const { return {rows.before, rows.after, columns.before, columns.after}; }
  bool fits() const { return rows.output > 0 && columns.output > 0; }
};

/// image: any dims that end with height, width, channels. The padding is the attribute "padding".
inline Window window_over(const Dims& image, const Dims& size, const Dims& strides, const Dims& dilation,
                          const Attributes& attributes) {
  const std::size_t height = image.size() - 3;
  Window window{{image[height], size[0], strides[0], dilation[0]},
                {image[height + 1], size[1], strides[1], dilation[1]}};
  if (attributes.is_word("padding") && attributes.word("padding") == "same") {
    window.rows.pad_same();
    window.columns.pad_same();
    return window;
  }
  const Dims amounts = attributes.is_word("padding") ? Dims{0, 0, 0, 0} : attributes.integers("padding");
  window.rows.pad_explicitly(amounts[0], amounts[1]);
  window.columns.pad_explicitly(amounts[2], amounts[3]);
  return window;
}

/// For messages; to be continued with the way out.
inline std::string misfit(const Window& window) {
  const auto by = [](std::int64_t a, std::int64_t b) {
    return std::to_string(a) + " x " + std::to_string(b) + " cells";
  };
  return "a window of " + by(window.rows.extent(), window.columns.extent()) + " does not fit into an input of " +
         by(window.rows.input, window.columns.input) + " with padding [top, bottom, left, right] " +
         to_string(window.padding());
}

/// One real input cell under one window.
struct Tap {
  std::int64_t out_row, out_column;  ///< which window
  std::int64_t index;                ///< position in the window, in scan order
  std::int64_t row, column;          ///< input cell
};

/// Windows in scan order, the cells of each in scan order, padding left out.
template <class Visit>
void for_each_tap(const Window& window, Visit visit) {
  const auto& [rows, columns] = window;
  for (std::int64_t out_row = 0; out_row < rows.output; ++out_row)
    for (std::int64_t out_column = 0; out_column < columns.output; ++out_column)
      for (std::int64_t index = 0; index < rows.window * columns.window; ++index) {
        const std::int64_t row = rows.cell(out_row, index / columns.window);
        const std::int64_t column = columns.cell(out_column, index % columns.window);
        if (rows.is_real(row) && columns.is_real(column)) visit(Tap{out_row, out_column, index, row, column});
      }
}

/// Flat index of channel 0 at a pixel of a dense nhwc tensor.
inline std::int64_t pixel(const Dims& nhwc, std::int64_t sample, std::int64_t row, std::int64_t column) {
  return ((sample * nhwc[1] + row) * nhwc[2] + column) * nhwc[3];
}

}  // namespace weir::ops
