// A plan is input, not authority: everything the session will rely on is checked here, and the programs are replayed on
// paper: every byte that a step reads must have been written last by the buffer it reads it as.
#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <type_traits>

#include "runtime/error.hpp"
#include "runtime/kernel.hpp"
#include "runtime/plan.hpp"

namespace weir {
namespace {

constexpr std::uint64_t most_bytes = std::uint64_t{1} << 42;

[[noreturn]] void bad(const std::string& place, const std::string& why) {
  throw Error(ErrorCode::invalid_data, "plan: " + place + ": " + why + "; compile the specification again");
}

/// Texts that have to be put together come as functions: a plan that holds needs none of them.
std::string text_of(const std::string& text) { return text; }
template <class Make>
requires std::is_invocable_v<Make> std::string text_of(const Make& make) { return make(); }

template <class Place, class Why>
void require(bool holds, const Place& place, const Why& why) {
  if (!holds) bad(text_of(place), text_of(why));
}

/// The bytes of a buffer, worked out once: to read a layout's word takes longer than all that is done with the answer.
struct Bytes {
  std::uint64_t begin = 0, end = 0;
  std::uint64_t count() const { return end - begin; }
};
using AllBytes = std::vector<Bytes>;  ///< of a list of buffers, in its order

template <class Place>
Bytes checked_bytes(const Buffer& buffer, std::uint64_t space, const Place& place) {
  check_layout(buffer.shape);
  const std::uint64_t bytes = byte_count(buffer);
  require(buffer.offset % 64 == 0, place, "offset is no multiple of 64");
  require(buffer.offset <= space && bytes <= space - buffer.offset, place, "it ends behind its memory");
  return {buffer.offset, buffer.offset + bytes};
}

bool overlap(const Bytes& a, const Bytes& b) { return a.begin < b.end && b.begin < a.end; }

std::vector<std::size_t> in_order_of_begin(const AllBytes& all) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return all[a].begin < all[b].begin; });
  return order;
}

/// For each buffer, those that share bytes with it.
std::vector<std::vector<std::size_t>> overlaps(const AllBytes& all) {
  std::vector<std::vector<std::size_t>> found(all.size());
  const std::vector<std::size_t> order = in_order_of_begin(all);
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = i + 1; j < order.size() && all[order[j]].begin < all[order[i]].end; ++j)
      if (overlap(all[order[i]], all[order[j]])) {
        found[order[i]].push_back(order[j]);
        found[order[j]].push_back(order[i]);
      }
  return found;
}

AllBytes check_store(const Plan& plan) {
  require(plan.store_bytes <= most_bytes, "store", "it is larger than 4 TiB");
  AllBytes all;
  for (const Buffer& buffer : plan.store) {
    const auto place = [&] { return "store " + buffer.name; };
    all.push_back(checked_bytes(buffer, plan.store_bytes, place));
    require(buffer.dtype == DType::f32, place, "parameters are f32");
  }
  const std::vector<std::size_t> order = in_order_of_begin(all);
  for (std::size_t i = 1; i < order.size(); ++i)
    require(!overlap(all[order[i - 1]], all[order[i]]), "store " + plan.store[order[i]].name,
            "it shares bytes with " + plan.store[order[i - 1]].name);
  return all;
}

/// What the checks of programs look up, worked out once for the plan.
struct Sizes {
  AllBytes store;
  std::vector<std::vector<std::uint64_t>> operands;  ///< by recipe and operand; 0 for a scalar
};

void check_store_index(const Plan& plan, int buffer, const Dims& dims, const std::string& place) {
  require(buffer >= 0 && static_cast<std::size_t>(buffer) < plan.store.size(), place, "no such store buffer");
  require(element_count(plan.store[static_cast<std::size_t>(buffer)].shape.dims) == element_count(dims), place,
          "its buffer has another size");
}

void check_parameters(const Plan& plan) {
  std::set<std::string> names;
  for (const Parameter& parameter : plan.parameters) {
    require(names.insert(parameter.name).second, "parameter " + parameter.name, "it stands twice");
    check_store_index(plan, parameter.buffer, parameter.dims, "parameter " + parameter.name);
    for (const auto& [slot, buffer] : parameter.state)
      check_store_index(plan, buffer, parameter.dims, parameter.name + "." + slot);
  }
  names.clear();
  for (const Scalar& scalar : plan.scalars)
    require(names.insert(scalar.name).second, "scalar " + scalar.name, "it stands twice");
  for (const char* needed : {"learning_rate", "step", "rows", "seed"})
    require(plan.scalar(needed) >= 0, "scalars", std::string("\"") + needed + "\" is missing");
}

bool is_weight(const Plan& plan, int scalar) {
  for (const Program& program : plan.programs)
    for (const TermReport& term : program.terms)
      if (term.settable() == scalar) return true;
  return false;
}

/// A scalar that the session sets itself (step, rows, seed) follows no curve.
void check_schedules(const Plan& plan) {
  std::set<int> taken;
  for (const char* own : {"learning_rate", "step", "rows", "seed"}) taken.insert(plan.scalar(own));
  for (const ScheduledScalar& one : plan.schedules) {
    const std::string place = "schedule of s" + std::to_string(one.scalar);
    require(one.scalar >= 0 && static_cast<std::size_t>(one.scalar) < plan.scalars.size(), place, "no such scalar");
    require(taken.insert(one.scalar).second, place, "the scalar is set by something else");
    const double least = is_weight(plan, one.scalar) ? 0 : std::numeric_limits<double>::lowest();
    const std::string fault = fault_of(one.schedule, least);
    require(fault.empty(), place, fault);
  }
}

/// Walks one program's steps in the order of execution and keeps, for each arena buffer, whether its bytes are still
/// its own.
class Replay {
 public:
  Replay(const Plan& plan, const Program& program, const AllBytes& store, const AllBytes& arena)
      : plan_(plan),
        program_(program),
        store_(store),
        arena_(arena),
        valid_(program.buffers.size(), false),
        overlaps_(overlaps(arena)) {}

  void run() {
    steps(program_.refresh, "refresh");
    for (int pass = 0; pass < 2; ++pass) {  // the second time without refresh, as between two predictions
      for (const InputBinding& input : program_.inputs) write(static_cast<std::size_t>(input.buffer));
      steps(program_.compute, "compute");
      steps(program_.commit, "commit");
      for (const OutputBinding& output : program_.outputs) read(output.buffer, [&] { return "output " + output.name; });
      for (const OutputBinding& gradient : program_.gradients)
        read(gradient.buffer, [&] { return "gradient " + gradient.name; });
      for (const Check& check : program_.checks)
        if (check.buffer.space == BufferRef::Space::arena)
          read(check.buffer.index, [&] { return "check " + check.name; });
    }
  }

 private:
  void steps(const std::vector<Step>& list, const std::string& phase) {
    for (std::size_t i = 0; i < list.size(); ++i)
      step(list[i], phase,
           [&] { return program_name() + " " + phase + " step " + std::to_string(i + 1) + " (" + list[i].node + ")"; });
  }

  std::string program_name() const {
    return std::string(to_string(program_.kind)) + " " + std::to_string(program_.batch);
  }

  template <class Place>
  void step(const Step& step, const std::string& phase, const Place& place) {
    const Recipe& recipe = plan_.recipes[static_cast<std::size_t>(step.recipe)];
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const BufferRef ref = step.operands[i];
      const Access access = recipe.operands[i].access;
      if (ref.space == BufferRef::Space::store)
        require(access == Access::read || phase == "commit", place, "only commit may write what is kept between steps");
      if (phase == "commit" && ref.space == BufferRef::Space::arena)
        require(access == Access::read, place, "commit writes the arena");
      if (ref.space == BufferRef::Space::arena && access != Access::write) read(ref.index, place);
    }
    check_aliases(step, recipe, place);
    for (std::size_t i = 0; i < step.operands.size(); ++i)
      if (step.operands[i].space == BufferRef::Space::arena && recipe.operands[i].access != Access::read)
        write(static_cast<std::size_t>(step.operands[i].index));
  }

  template <class Place>
  void read(int buffer, const Place& place) {
    require(valid_[static_cast<std::size_t>(buffer)], place, [&] {
      return "it reads " + program_.buffers[static_cast<std::size_t>(buffer)].name +
             ", whose bytes were not written or were overwritten";
    });
  }

  void write(std::size_t buffer) {
    for (std::size_t other : overlaps_[buffer]) valid_[other] = false;
    valid_[buffer] = true;
  }

  /// A written operand shares bytes with another of the same step only where the kernel's record allows it, and then
  /// all of them.
  template <class Place>
  void check_aliases(const Step& step, const Recipe& recipe, const Place& place) {
    for (std::size_t w = 0; w < step.operands.size(); ++w) {
      if (recipe.operands[w].access == Access::read || step.operands[w].space == BufferRef::Space::scalar) continue;
      for (std::size_t r = 0; r < step.operands.size(); ++r) {
        if (r == w || step.operands[r].space != step.operands[w].space) continue;
        const Bytes written = bytes(step.operands[w]), other = bytes(step.operands[r]);
        if (!overlap(written, other)) continue;
        require(in_place(recipe, w, r) && written.begin == other.begin && written.end == other.end, place,
                [&] { return name(step.operands[w]) + " and " + name(step.operands[r]) + " share bytes"; });
      }
    }
  }

  static bool in_place(const Recipe& recipe, std::size_t written, std::size_t read) {
    for (const InPlace& pair : in_place_of(recipe))
      if (recipe.operands[written].role == pair.written && recipe.operands[read].role == pair.read) return true;
    return false;
  }

  const std::string& name(BufferRef ref) const {
    return (ref.space == BufferRef::Space::store ? plan_.store : program_.buffers)[static_cast<std::size_t>(ref.index)]
        .name;
  }
  const Bytes& bytes(BufferRef ref) const {
    return (ref.space == BufferRef::Space::store ? store_ : arena_)[static_cast<std::size_t>(ref.index)];
  }

  const Plan& plan_;
  const Program& program_;
  const AllBytes &store_, &arena_;
  std::vector<bool> valid_;
  std::vector<std::vector<std::size_t>> overlaps_;
};

class ProgramCheck {
 public:
  ProgramCheck(const Plan& plan, const Program& program, const Sizes& sizes)
      : plan_(plan),
        program_(program),
        sizes_(sizes),
        name_(std::string(to_string(program.kind)) + " " + std::to_string(program.batch)) {}

  void run() {
    require(program_.batch >= 1 && program_.batch <= (std::int64_t{1} << 31), name_, "batch size out of range");
    require(program_.arena_bytes <= most_bytes, name_, "the arena is larger than 4 TiB");
    for (const Buffer& buffer : program_.buffers)
      arena_.push_back(checked_bytes(buffer, program_.arena_bytes, [&] { return name_ + " " + buffer.name; }));
    for (const auto* list : {&program_.refresh, &program_.compute, &program_.commit})
      for (const Step& step : *list) check_step(step);
    check_bindings();
    Replay(plan_, program_, sizes_.store, arena_).run();
  }

 private:
  void check_step(const Step& step) {
    const auto place = [&] { return name_ + " step " + step.node; };
    require(step.recipe >= 0 && static_cast<std::size_t>(step.recipe) < plan_.recipes.size(), place, "no such recipe");
    const Recipe& recipe = plan_.recipes[static_cast<std::size_t>(step.recipe)];
    require(step.operands.size() == recipe.operands.size(), place, "operands and recipe disagree");
    for (std::size_t i = 0; i < step.operands.size(); ++i)
      check_operand(step.operands[i], recipe.operands[i], sizes_.operands[static_cast<std::size_t>(step.recipe)][i],
                    [&] { return place() + " " + recipe.operands[i].role; });
  }

  template <class Place>
  void check_operand(BufferRef ref, const RecipeOperand& operand, std::uint64_t bytes, const Place& place) {
    const bool scalar = operand.shape.layout.empty();
    require(scalar == (ref.space == BufferRef::Space::scalar), place, "a scalar and a tensor are not the same");
    check_ref(ref, place);
    if (scalar) return;
    const bool kept = ref.space == BufferRef::Space::store;
    const auto at = static_cast<std::size_t>(ref.index);
    const Buffer& buffer = (kept ? plan_.store : program_.buffers)[at];
    require(buffer.dtype == operand.dtype && (kept ? sizes_.store : arena_)[at].count() == bytes, place,
            [&] { return buffer.name + " has another type or size"; });
  }

  template <class Place>
  void check_ref(BufferRef ref, const Place& place) {
    const std::size_t sizes[] = {plan_.store.size(), program_.buffers.size(), plan_.scalars.size()};
    require(ref.index >= 0 && static_cast<std::size_t>(ref.index) < sizes[static_cast<int>(ref.space)], place,
            [&] { return "no buffer " + to_string(ref); });
  }

  void check_arena(int buffer, DType dtype, std::int64_t count, const std::string& place) {
    check_ref({BufferRef::Space::arena, buffer}, place);
    const Buffer& found = program_.buffers[static_cast<std::size_t>(buffer)];
    require(found.dtype == dtype && is_dense(found.shape) && element_count(found.shape.dims) == count, place,
            found.name + " does not fit");
  }

  void check_bindings() {
    for (const InputBinding& input : program_.inputs) {
      require(input.classes >= 0, name_ + " input " + input.name, "negative classes");
      Dims dims = input.dims;
      dims.insert(dims.begin(), program_.batch);
      for (const InputReader& reader : input.readers) check_reader(input, reader);
      check_arena(input.buffer, input.dtype, element_count(dims), name_ + " input " + input.name);
    }
    for (const OutputBinding& output : program_.outputs)
      check_ref({BufferRef::Space::arena, output.buffer}, name_ + " output " + output.name);
    for (const OutputBinding& output : program_.outputs) {
      const Buffer& found = program_.buffers[static_cast<std::size_t>(output.buffer)];
      require(is_dense(found.shape) && element_count(found.shape.dims) % program_.batch == 0 &&
                  element_count(output.dims) == element_count(found.shape.dims) / program_.batch,
              name_ + " output " + output.name, "it does not fit its buffer");
    }
    for (const OutputBinding& gradient : program_.gradients) {
      const std::string place = name_ + " gradient " + gradient.name;
      check_ref({BufferRef::Space::arena, gradient.buffer}, place);
      require(program_.buffers[static_cast<std::size_t>(gradient.buffer)].dtype == DType::f32 &&
                  element_count(program_.buffers[static_cast<std::size_t>(gradient.buffer)].shape.dims) ==
                      element_count(gradient.dims),
              place, "it does not fit its buffer");
    }
    for (const Check& check : program_.checks) check_check(check);
    for (const TermReport& term : program_.terms) {
      check_ref({BufferRef::Space::scalar, term.value}, name_ + " term " + term.name);
      for (const int scalar : {term.weight, term.denominator, term.given})
        if (scalar >= 0) check_ref({BufferRef::Space::scalar, scalar}, name_ + " term " + term.name);
    }
    for (const MetricReport& metric : program_.metrics)
      for (const int scalar : {metric.value, metric.denominator})
        if (scalar >= 0 || scalar == metric.value)
          check_ref({BufferRef::Space::scalar, scalar}, name_ + " metric " + metric.name);
  }

  /// Its mask is one number a sample, or divides the entries of the input.
  void check_reader(const InputBinding& input, const InputReader& reader) {
    const std::string place = name_ + " input " + input.name;
    require(reader.classes >= 0, place, "negative classes");
    if (reader.mask < 0) return;
    require(static_cast<std::size_t>(reader.mask) < program_.inputs.size(), place, "its mask is no input");
    const Dims& mask = program_.inputs[static_cast<std::size_t>(reader.mask)].dims;
    const std::int64_t entries = element_count(mask);
    require(entries > 0 && element_count(input.dims) % entries == 0, place, "its mask does not fit");
  }

  void check_check(const Check& check) {
    const std::string place = name_ + " check " + check.name;
    check_ref(check.buffer, place);
    require(check.buffer.space != BufferRef::Space::store, place, "only what compute writes is checked");
    if (check.buffer.space == BufferRef::Space::arena)
      require(program_.buffers[static_cast<std::size_t>(check.buffer.index)].dtype == DType::f32, place,
              "only f32 is checked");
  }

  const Plan& plan_;
  const Program& program_;
  const Sizes& sizes_;
  AllBytes arena_;
  std::string name_;
};

}  // namespace

void validate_plan(const Plan& plan) {
  require(plan.fingerprint.threads >= 1 && plan.fingerprint.threads <= 4096, "fingerprint", "threads out of range");
  require(plan.training.batch_size >= 1 && plan.training.epochs >= 0, "training", "batch size or epochs out of range");
  Sizes sizes;
  for (const Recipe& recipe : plan.recipes) {
    require(
        recipe.threads >= 1 && recipe.threads <= 4096, [&] { return "recipe " + recipe.kernel; },
        "threads out of range");
    std::vector<std::uint64_t>& bytes = sizes.operands.emplace_back();
    for (const RecipeOperand& operand : recipe.operands)  // throws where the layout does not fit
      bytes.push_back(operand.shape.layout.empty() ? 0 : byte_count(operand));
    validate_recipe(recipe);
  }
  sizes.store = check_store(plan);
  check_parameters(plan);
  check_schedules(plan);
  for (const Program& program : plan.programs) ProgramCheck(plan, program, sizes).run();
}

}  // namespace weir
