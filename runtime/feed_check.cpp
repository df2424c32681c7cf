#include "runtime/feed_check.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/attribute.hpp"
#include "runtime/finite.hpp"

namespace weir {
namespace {

[[noreturn]] void bad_data(const std::string& message) { throw Error(ErrorCode::invalid_data, message); }

double number_at(const TensorView& view, std::int64_t i) {
  return view.dtype == DType::i32 ? static_cast<const std::int32_t*>(view.data)[i]
                                  : static_cast<double>(static_cast<const float*>(view.data)[i]);
}

/// One input of a program, and what the feed has for it.
class InputCheck {
 public:
  InputCheck(const Program& program, const InputBinding& input, const Feed& feed, std::int64_t count,
             std::int64_t first)
      : program_(program),
        input_(input),
        feed_(feed),
        view_(feed.find(input.name)->second),
        values_(element_count(input.dims)),
        entries_(count * values_),
        first_(first) {}

  void run() const {
    const bool trains = program_.kind == ProgramKind::train;
    if (input_.mask) check_mask();
    if (input_.classes > 0 && input_.readers.empty()) check_classes();
    if (!input_.readers.empty() && input_.dtype == DType::i32) check_read_classes();
    if (trains && input_.dtype == DType::f32) check_finite();
  }

 private:
  std::string place(std::int64_t entry) const {
    return "input \"" + input_.name + "\", row " + std::to_string(first_ + entry / values_);
  }
  const std::int32_t* classes() const { return static_cast<const std::int32_t*>(view_.data); }
  [[noreturn]] void refuse_class(std::int64_t entry, std::int64_t count) const {
    bad_data(place(entry) + ": class " + std::to_string(classes()[entry]) + " is outside 0 … " +
             std::to_string(count - 1));
  }

  void check_mask() const {
    for (std::int64_t i = 0; i < entries_; ++i)
      if (const double value = number_at(view_, i); value != 0 && value != 1)
        bad_data(place(i) + ": a mask holds 0 and 1, not " + shortest(value));
  }

  void check_classes() const {
    for (std::int64_t i = 0; i < entries_; ++i)
      if (classes()[i] < 0 || classes()[i] >= input_.classes) refuse_class(i, input_.classes);
  }

  /// Where some reader looks at a part of the input only: `refuses` says what is wrong for a reader that looks.
  template <class Refuses>
  void check_readers(const Refuses& refuses) const {
    for (const InputReader& reader : input_.readers) {
      const InputBinding* mask = reader.mask < 0 ? nullptr : &program_.inputs[static_cast<std::size_t>(reader.mask)];
      const auto given = mask ? feed_.find(mask->name) : feed_.end();
      const std::int64_t covered = mask ? values_ / element_count(mask->dims) : 1;
      for (std::int64_t i = 0; i < entries_; ++i)
        if (!mask || number_at(given->second, i / covered) != 0) refuses(reader, i);
    }
  }

  void check_read_classes() const {
    check_readers([&](const InputReader& reader, std::int64_t i) {
      const std::int32_t word = classes()[i];
      if (reader.classes == 0 || (word >= 0 && word < reader.classes) || word == reader.ignored) return;
      refuse_class(i, reader.classes);
    });
  }

  void check_finite() const {
    const auto* numbers = static_cast<const float*>(view_.data);
    if (all_within(numbers, entries_, 0)) return;
    const auto refuse = [&](std::int64_t i) {
      if (!std::isfinite(numbers[i])) bad_data(place(i) + ", is not finite");
    };
    if (input_.readers.empty())
      for (std::int64_t i = 0; i < entries_; ++i) refuse(i);
    else
      check_readers([&](const InputReader&, std::int64_t i) { refuse(i); });
  }

  const Program& program_;
  const InputBinding& input_;
  const Feed& feed_;
  const TensorView& view_;
  std::int64_t values_, entries_, first_;
};

[[noreturn]] void refuse_shape(const InputBinding& input, const TensorView& view, std::int64_t count) {
  Dims expected = input.dims;
  expected.insert(expected.begin(), count);
  bad_data("input \"" + input.name + "\" is " + std::string(to_string(view.dtype)) + to_string(view.dims) +
           ", expected " + std::string(to_string(input.dtype)) + to_string(expected));
}

}  // namespace

std::int64_t row_count(const std::vector<std::string>& inputs, const Feed& feed) {
  if (feed.empty()) bad_data("no input was given");
  const TensorView& first = feed.begin()->second;
  if (first.dims.empty()) bad_data("input \"" + feed.begin()->first + "\" has no batch axis");
  for (const auto& [name, view] : feed) {
    if (std::find(inputs.begin(), inputs.end(), name) == inputs.end())
      bad_data("the model has no input \"" + name + "\"");
    if (view.dims.empty() || view.dims.front() != first.dims.front())
      bad_data("input \"" + name + "\" is " + to_string(view.dims) + " but \"" + feed.begin()->first + "\" has " +
               std::to_string(first.dims.front()) + " rows");
  }
  return first.dims.front();
}

void check_feed_shapes(const Program& program, const Feed& feed, std::int64_t count) {
  for (const InputBinding& input : program.inputs) {
    const auto found = feed.find(input.name);
    if (found == feed.end()) bad_data("input \"" + input.name + "\" is missing");
    const TensorView& view = found->second;
    const bool same = view.dims.size() == input.dims.size() + 1 && view.dims.front() == count &&
                      std::equal(input.dims.begin(), input.dims.end(), view.dims.begin() + 1);
    if (!same || view.dtype != input.dtype) refuse_shape(input, view, count);
  }
}

void check_feed(const Program& program, const Feed& feed, std::int64_t count, std::int64_t first) {
  check_feed_shapes(program, feed, count);
  for (const InputBinding& input : program.inputs) InputCheck(program, input, feed, count, first).run();
}

Feed slice_feed(const Feed& feed, std::int64_t first, std::int64_t count) {
  Feed rows;
  for (const auto& [name, view] : feed) {
    const auto bytes = static_cast<std::int64_t>(size_of(view.dtype)) * element_count(view.dims) / view.dims.front();
    Dims dims = view.dims;
    dims.front() = count;
    rows.emplace(name, TensorView(static_cast<const std::byte*>(view.data) + first * bytes, view.dtype, dims));
  }
  return rows;
}

}  // namespace weir
