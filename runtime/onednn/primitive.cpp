#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <new>
#include <unordered_map>

#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/parallel.hpp"

namespace weir {
namespace {

constexpr std::array definitions{&convolution_forward,
                                 &convolution_backward_data,
                                 &convolution_backward_weights,
                                 &inner_product_forward,
                                 &inner_product_backward_data,
                                 &inner_product_backward_weights,
                                 &pooling_forward,
                                 &pooling_backward,
                                 &batch_normalization_forward,
                                 &batch_normalization_inference,
                                 &batch_normalization_backward,
                                 &layer_normalization_forward,
                                 &layer_normalization_backward,
                                 &resampling_forward,
                                 &resampling_backward,
                                 &softmax_forward,
                                 &softmax_backward,
                                 &eltwise_forward,
                                 &reorder};

struct Argument {
  std::string_view role;
  int index;
};

constexpr std::array arguments{Argument{"src", DNNL_ARG_SRC},
                               Argument{"dst", DNNL_ARG_DST},
                               Argument{"weights", DNNL_ARG_WEIGHTS},
                               Argument{"bias", DNNL_ARG_BIAS},
                               Argument{"diff_src", DNNL_ARG_DIFF_SRC},
                               Argument{"diff_dst", DNNL_ARG_DIFF_DST},
                               Argument{"diff_weights", DNNL_ARG_DIFF_WEIGHTS},
                               Argument{"diff_bias", DNNL_ARG_DIFF_BIAS},
                               Argument{"workspace", DNNL_ARG_WORKSPACE},
                               Argument{"mean", DNNL_ARG_MEAN},
                               Argument{"variance", DNNL_ARG_VARIANCE},
                               Argument{"scale", DNNL_ARG_SCALE},
                               Argument{"shift", DNNL_ARG_SHIFT},
                               Argument{"diff_scale", DNNL_ARG_DIFF_SCALE},
                               Argument{"diff_shift", DNNL_ARG_DIFF_SHIFT},
                               Argument{"scratch", DNNL_ARG_SCRATCHPAD}};

int argument_of(std::string_view role) {
  return std::find_if(arguments.begin(), arguments.end(), [&](const Argument& a) { return a.role == role; })->index;
}

dnnl::memory::desc desc_at(const dnnl::primitive_desc_base& description, std::string_view role) {
  return description.query_md(dnnl::query::exec_arg_md, argument_of(role));
}

const PrimitiveDef& definition_of(const Recipe& recipe) {
  if (const PrimitiveDef* found = find_primitive(recipe.kernel)) return *found;
  throw Error(ErrorCode::invalid_data, "there is no kernel \"" + recipe.kernel + "\"");
}

bool is_workspace(const RecipeOperand& operand) { return operand.role == "workspace"; }
bool is_scratch(const RecipeOperand& operand) { return operand.role == "scratch"; }
bool is_open(const RecipeOperand& operand) { return operand.shape.layout == "any"; }

void check_workspace(const Recipe& recipe, const RecipeOperand& workspace, bool allowed) {
  if (!allowed) reject(recipe, "it takes no workspace");
  const Access access = recipe.find("dst") ? Access::write : Access::read;
  if (recipe.find("workspace") != &workspace || workspace.access != access)
    reject(recipe, "one workspace is written by the forward step and read by its gradient");
}

void check_scratch(const Recipe& recipe, const RecipeOperand& scratch) {
  const bool holds = recipe.find("scratch") == &scratch && scratch.access == Access::write &&
                     scratch.dtype == DType::u8 && scratch.shape.axes == "x" && scratch.shape.dims.size() == 1;
  if (!holds) reject(recipe, "scratch must be one written operand of bytes with axes \"x\"");
}

/// Everything but what the library says. No layout may be open.
void check_recipe(const PrimitiveDef& definition, const Recipe& recipe) {
  check_shapes(recipe);
  Recipe main = recipe;
  main.operands.clear();
  for (const RecipeOperand& operand : recipe.operands) {
    if (is_workspace(operand)) {
      check_workspace(recipe, operand, definition.workspace);
    } else if (is_scratch(operand)) {
      check_scratch(recipe, operand);
    } else {
      main.operands.push_back(operand);
    }
  }
  check_operands(main, definition.operands);
  definition.check(recipe);
}

/// Runs `body` under the recipe's threads; the library's errors become ours.
template <class Body>
auto under(const Recipe& recipe, Body&& body) {
  const ThreadScope scope(recipe.threads);
  try {
    return body();
  } catch (const dnnl::error& error) {
    throw Error(to_code(error.status), "oneDNN refuses the recipe " + to_string(recipe) + ": " + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::resource_exhausted, "no memory to prepare the recipe " + to_string(recipe));
  }
}

dnnl::primitive_desc_base describe(const PrimitiveDef& definition, const Recipe& recipe) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return definition.describe(recipe, attributes);
}

/// A layout that came out of the library may differ from the recipe's word and still be the same bytes; descriptors
/// decide.
void check_agreement(const Recipe& recipe, const dnnl::primitive_desc_base& description) {
  for (const RecipeOperand& operand : recipe.operands) {
    const dnnl::memory::desc wanted = desc_at(description, operand.role);
    if (is_scratch(operand)) {
      if (byte_count(operand) < wanted.get_size()) reject(recipe, "the scratch is too small");
      continue;
    }
    if (wanted != to_desc(operand.shape, operand.dtype))
      reject(recipe, "operand \"" + operand.role + "\" has another type or layout than the library uses");
  }
  if (!recipe.find("workspace") && !desc_at(description, "workspace").is_zero())
    reject(recipe, "operand \"workspace\" is missing");
}

dnnl::primitive_desc_base checked_description(const Recipe& recipe) {
  const PrimitiveDef& definition = definition_of(recipe);
  check_recipe(definition, recipe);
  return under(recipe, [&] {
    auto description = describe(definition, recipe);
    check_agreement(recipe, description);
    return description;
  });
}

/// Descriptions of recipes that held together. A plan is checked when it is compiled or read, again by each session,
/// and its recipes once more when they become executable; the library works out the same answer in most of that time.
/// Any thread may ask.
class Descriptions {
 public:
  dnnl::primitive_desc_base of(const Recipe& recipe) {
    const std::string text = to_string(recipe);
    {
      const std::lock_guard lock(mutex_);
      const auto found = known_.find(text);
      if (found != known_.end() && found->second.recipe == recipe) return found->second.description;
    }
    auto description = checked_description(recipe);
    const std::lock_guard lock(mutex_);
    if (known_.size() >= most) known_.clear();
    known_.insert_or_assign(text, Known{recipe, description});
    return description;
  }

 private:
  static constexpr std::size_t most = 1024;  ///< as many as the library keeps primitives
  struct Known {
    Recipe recipe;  ///< its text leaves out what the library does not look at
    dnnl::primitive_desc_base description;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;
};

dnnl::primitive_desc_base description_of(const Recipe& recipe) {
  static Descriptions descriptions;
  return descriptions.of(recipe);
}

bool is_reference(const dnnl::primitive_desc_base& description) {
  return std::string_view(description.impl_info_str()).starts_with("ref");
}

/// A workspace has the extents of the pooled image; the library chooses its type.
Recipe with_workspace_extents(Recipe open) {
  for (RecipeOperand& operand : open.operands) {
    if (!is_workspace(operand)) continue;
    const RecipeOperand* result = open.find("dst");
    const Shape& shape = result ? result->shape : open.operand("diff_dst").shape;
    operand.shape.dims = shape.dims;
    operand.shape.axes = shape.axes;
  }
  return open;
}

/// The open recipe with every layout canonical; for checks, and as the second choice.
Recipe with_canonical_layouts(const Recipe& open) {
  Recipe closed = open;
  for (RecipeOperand& operand : closed.operands)
    if (is_open(operand)) operand.shape.layout = operand.shape.axes;
  return closed;
}

/// Empty where a chosen layout has no name of ours.
std::vector<RecipeOperand> settled_operands(const Recipe& open, const dnnl::primitive_desc_base& description) {
  std::vector<RecipeOperand> operands = open.operands;
  for (RecipeOperand& operand : operands) {
    const dnnl::memory::desc desc = desc_at(description, operand.role);
    if (is_workspace(operand)) operand.dtype = from_dnnl(desc.get_data_type());
    if (is_open(operand)) operand.shape.layout = layout_of(desc, operand.shape.axes);
    if (operand.shape.layout.empty()) return {};
  }
  const auto bytes = static_cast<std::int64_t>(desc_at(description, "scratch").get_size());
  if (bytes > 0) operands.push_back({"scratch", Access::write, DType::u8, {{bytes}, "x", "x"}});
  return operands;
}

struct Attempt {
  Recipe recipe;
  bool named = false;
  bool reference = false;
};

/// What counts is the recipe as the plan will hold it, with names in place of the library's choices.
Attempt attempt(const PrimitiveDef& definition, const Recipe& open) {
  const auto description = describe(definition, open);
  Attempt result{open};
  result.recipe.operands = settled_operands(open, description);
  result.named = !result.recipe.operands.empty();
  result.reference = is_reference(result.named ? describe(definition, result.recipe) : description);
  return result;
}

class Room {
 public:
  explicit Room(std::size_t bytes) : data_(::operator new(bytes, alignment)) {}
  ~Room() { ::operator delete(data_, alignment); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  void* data() const { return data_; }

 private:
  static constexpr std::align_val_t alignment{64};
  void* data_;
};

/// Executed through the C interface: the argument list is built once. Each has its own stream, which on the CPU is a
/// few bytes, because streams are not made to be shared by threads.
class Primitive : public Executable {
 public:
  Primitive(const PrimitiveDef& definition, const Recipe& recipe, const dnnl::primitive_desc_base& description,
            std::span<void* const> buffers)
      : primitive_(description.get()), stream_(cpu_engine()) {
    for (std::size_t i = 0; i < recipe.operands.size(); ++i) bind(description, recipe.operands[i].role, buffers[i]);
    own(recipe, description, "scratch");
    for (std::string_view role : definition.owned) own(recipe, description, role);
    for (std::size_t i = 0; i < memories_.size(); ++i) arguments_[i].memory = memories_[i].get();
  }

  void run() override {
    const auto status =
        dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
    if (status != dnnl_success) throw Error(to_code(status), "oneDNN could not execute a primitive");
  }

 private:
  /// Where the primitive wants it and the recipe has no such operand.
  void own(const Recipe& recipe, const dnnl::primitive_desc_base& description, std::string_view role) {
    const std::size_t bytes = desc_at(description, role).get_size();
    if (bytes > 0 && !recipe.find(role)) bind(description, role, owned_.emplace_back(bytes).data());
  }

  void bind(const dnnl::primitive_desc_base& description, std::string_view role, void* data) {
    memories_.emplace_back(desc_at(description, role), cpu_engine(), data);
    arguments_.push_back({argument_of(role), nullptr});
  }

  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::deque<Room> owned_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

}  // namespace

const PrimitiveDef* find_primitive(std::string_view name) {
  for (const PrimitiveDef* definition : definitions)
    if (definition->name == name) return definition;
  return nullptr;
}

bool is_primitive(std::string_view kernel) { return find_primitive(kernel) != nullptr; }

Recipe close_primitive(const Recipe& asked) {
  const PrimitiveDef& definition = definition_of(asked);
  const Recipe open = with_workspace_extents(asked);
  const Recipe canonical = with_canonical_layouts(open);
  check_recipe(definition, canonical);
  return under(open, [&] {
    const Attempt first = attempt(definition, open);
    if (first.named && !first.reference) return first.recipe;
    const Attempt second = attempt(definition, canonical);
    return first.named && second.reference ? first.recipe : second.recipe;
  });
}

std::string primitive_implementation(const Recipe& closed) { return description_of(closed).impl_info_str(); }

void validate_primitive(const Recipe& recipe) { description_of(recipe); }

std::unique_ptr<Executable> make_primitive(const Recipe& recipe, std::span<void* const> buffers) {
  const auto description = description_of(recipe);
  return under(recipe, [&]() -> std::unique_ptr<Executable> {
    return std::make_unique<Primitive>(definition_of(recipe), recipe, description, buffers);
  });
}

std::span<const InPlace> primitive_in_place(const Recipe& recipe) { return definition_of(recipe).in_place; }

}  // namespace weir
