// Layouts of images over a whole training graph: the cheapest choice, found exactly; and the same results in any
// layout.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <random>

#include "compiler/passes/min_cut.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/random.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

// ---- The cut

struct Problem {
  int variables = 0;
  struct Unary {
    int variable;
    MinCut::Price where_0, where_1;
  };
  struct Pair {
    int zero, one;
    MinCut::Price price;
  };
  std::vector<Unary> unaries;
  std::vector<Pair> pairs;
};

Problem random_problem(std::mt19937& random) {
  const auto below = [&](int bound) { return static_cast<int>(random() % static_cast<unsigned>(bound)); };
  Problem problem{2 + below(7), {}, {}};
  for (int i = 0; i < problem.variables; ++i) problem.unaries.push_back({i, below(20), below(20)});
  for (int i = 0; i < 2 * problem.variables; ++i)
    problem.pairs.push_back({below(problem.variables), below(problem.variables), below(8) ? below(15) : int{1} << 20});
  return problem;
}

MinCut::Price price_of(const Problem& problem, unsigned ones) {
  const auto is_one = [&](int variable) { return (ones >> variable & 1U) == 1U; };
  MinCut::Price sum = 0;
  for (const auto& unary : problem.unaries) sum += is_one(unary.variable) ? unary.where_1 : unary.where_0;
  for (const auto& pair : problem.pairs) sum += !is_one(pair.zero) && is_one(pair.one) ? pair.price : 0;
  return sum;
}

unsigned solved(const Problem& problem) {
  MinCut cut;
  for (int i = 0; i < problem.variables; ++i) cut.add_variable();
  for (const auto& unary : problem.unaries) cut.pay(unary.variable, unary.where_0, unary.where_1);
  for (const auto& pair : problem.pairs) cut.pay_between(pair.zero, pair.one, pair.price);
  const std::vector<bool> values = cut.solve();
  unsigned ones = 0;
  for (int i = 0; i < problem.variables; ++i)
    if (values[static_cast<std::size_t>(i)]) ones |= 1U << i;
  return ones;
}

int count(unsigned ones) { return std::popcount(ones); }

// ---- A model with everything that has a layout

const std::string model = R"({
  "format": "weir/1", "inputs": { "image": { "shape": [8, 8, 3] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "first", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu" },
    { "name": "norm", "type": "batch_normalization" },
    { "name": "inner", "type": "conv2d", "filters": 16, "kernel_size": 1, "padding": "same" },
    { "name": "sum", "type": "add", "from": ["inner", "norm"] },
    { "name": "pool", "type": "max_pooling2d" },
    { "name": "last", "type": "conv2d", "filters": 32, "kernel_size": 3, "activation": "tanh" },
    { "name": "flat", "type": "flatten" },
    { "name": "out", "type": "dense", "units": 4 } ],
  "loss": { "terms": {
    "size": { "type": "value", "at": "pool", "weight": 0.01 },
    "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
               "target": { "input": "label" } } } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.05 }, "batch_size": 5, "metrics": { "watched": {
    "type": "mean", "at": "last" } } }
})";

/// Prices that know no machine: of each kernel and the layouts of its images a number of their own, from the salt.
class MadeUpPrices : public Target {
 public:
  MadeUpPrices(std::unique_ptr<Target> machine, int salt, std::string usual, std::string other)
      : machine_(std::move(machine)), salt_(salt), usual_(std::move(usual)), other_(std::move(other)) {}

  Recipe close(const Recipe& open) const override { return machine_->close(open); }
  std::string activation_layout(const Dims& dims, const std::string& axes) const override {
    return layout(dims, axes, usual_);
  }
  std::string other_activation_layout(const Dims& dims, const std::string& axes) const override {
    return layout(dims, axes, other_);
  }
  double seconds(const Recipe& recipe) const override {
    std::string text = recipe.kernel;
    for (const RecipeOperand& operand : recipe.operands)
      if (operand.shape.axes == "nhwc") text += " " + operand.shape.layout + " " + to_string(operand.shape.dims);
    const bool reorder = recipe.kernel == "reorder";
    if (reorder && recipe.operands.front().dtype != DType::f32) return 1;  // positions in windows
    return (reorder ? 2e-6 : 1e-5) * uniform(random_key(static_cast<std::uint64_t>(salt_), text), 0, 0);
  }
  std::string implementation(const Recipe& closed) const override { return machine_->implementation(closed); }
  Fingerprint fingerprint() const override { return machine_->fingerprint(); }

 private:
  static std::string layout(const Dims& dims, const std::string& axes, const std::string& wanted) {
    return axes == "nhwc" && dims[3] % 8 == 0 ? wanted : axes;
  }

  std::unique_ptr<Target> machine_;
  int salt_;
  std::string usual_, other_;
};

/// Leaves recipes as they are: nothing has to run.
class OnPaper : public Target {
 public:
  Recipe close(const Recipe& open) const override {
    Recipe closed = open;
    for (RecipeOperand& operand : closed.operands)
      if (operand.shape.layout == "any") operand.shape.layout = operand.shape.axes;
    return closed;
  }
  std::string activation_layout(const Dims&, const std::string& axes) const override { return axes; }
  double seconds(const Recipe&) const override { return 0; }
  std::string implementation(const Recipe& closed) const override { return closed.kernel; }
  Fingerprint fingerprint() const override { return {"paper", "none", 1}; }
};

TrainingGraph training_graph() {
  Diagnostics diagnostics("model", model);
  const Spec spec = parse_spec(model, "model", diagnostics, {});
  TrainingGraph training = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics);
  training = fuse_post_ops(prune(add_updates(spec, differentiate(std::move(training)))));
  REQUIRE(!diagnostics.has_errors());
  return training;
}

/// Of all steps that lower makes.
double seconds_of(const TrainingGraph& training, const Target& target, const LayoutAssignment& layouts) {
  HomeShapes homes;
  double seconds = 0;
  for (const LoweredStep& step : lower(training, target, 5, homes, layouts).steps) {
    const bool weights = std::none_of(step.recipe.operands.begin(), step.recipe.operands.end(),
                                      [](const RecipeOperand& operand) { return operand.shape.axes == "nhwc"; });
    if (!weights) seconds += target.seconds(step.recipe);
  }
  return seconds;
}

}  // namespace

TEST_CASE("the smallest cut is the cheapest choice, and of equal ones the one with the fewest ones") {
  std::mt19937 random(5);
  for (int repeat = 0; repeat < 300; ++repeat) {
    const Problem problem = random_problem(random);
    unsigned best = 0;
    for (unsigned ones = 0; ones < 1U << problem.variables; ++ones) {
      const auto price = price_of(problem, ones), least = price_of(problem, best);
      if (price < least || (price == least && count(ones) < count(best))) best = ones;
    }
    const unsigned found = solved(problem);
    INFO("problem ", repeat, ": found ", found, ", best ", best);
    CHECK(price_of(problem, found) == price_of(problem, best));
    CHECK(count(found) == count(best));
  }
}

TEST_CASE("no other choice of layouts makes cheaper steps") {
  const TrainingGraph training = training_graph();
  int assigned = 0;
  for (int salt = 0; salt < 12; ++salt) {
    const bool blocked = salt % 2 == 1;  // which of the two is usual
    const MadeUpPrices target(std::make_unique<OnPaper>(), salt, blocked ? "nChw8c" : "nhwc",
                              blocked ? "nhwc" : "nChw8c");
    const LayoutAssignment layouts = assign_layouts(training, target, 5);
    const double found = seconds_of(training, target, layouts), usual = seconds_of(training, target, {});
    INFO("salt ", salt, ": ", found, " seconds, usually ", usual);
    CHECK(found <= usual);
    if (layouts.nodes.empty()) continue;
    ++assigned;
    CHECK(layouts.changed > 0);
    CHECK(usual - found == doctest::Approx(layouts.usual_seconds - layouts.seconds).epsilon(1e-6));
    std::mt19937 random(static_cast<unsigned>(salt));
    for (int repeat = 0; repeat < 60; ++repeat) {  // one node, or many
      LayoutAssignment changed = layouts;
      for (auto& [id, entry] : changed.nodes)
        if (random() % (repeat < 30 ? 8U : 2U) == 0)
          entry.layout = entry.layout == ImageLayout::usual ? ImageLayout::other : ImageLayout::usual;
      CHECK(seconds_of(training, target, changed) >= found * (1 - 1e-9));
    }
  }
  CHECK(assigned > 6);
}

TEST_CASE("where the target has one layout, or the other gains nothing, nothing is assigned") {
  const TrainingGraph training = training_graph();
  CHECK(assign_layouts(training, *fixed_target(1), 5).nodes.empty());
  CHECK(print(assign_layouts(training, *fixed_target(1), 5)) == "the usual layouts\n");
  class Equal : public MadeUpPrices {
   public:
    using MadeUpPrices::MadeUpPrices;
    double seconds(const Recipe& recipe) const override { return recipe.kernel == "reorder" ? 0 : 1e-6; }
  };
  CHECK(assign_layouts(training, Equal(std::make_unique<OnPaper>(), 1, "nhwc", "nChw8c"), 5).nodes.empty());
  CHECK(assign_layouts(training, Equal(std::make_unique<OnPaper>(), 1, "nChw8c", "nhwc"), 5).nodes.empty());
}

TEST_CASE("a model trains alike in whatever layouts its nodes are") {
  const Tensor image = made_up({5, 8, 8, 3}, 1), label = made_up_classes(5, 4);
  const auto totals = [&](const Target& target, CompileOptions options) {
    Session session(compiled(model, std::move(options), &target), {.seed = 3, .poison = true});
    std::vector<double> values;
    for (int step = 0; step < 4; ++step)
      values.push_back(session.train_step({{"image", image}, {"label", label}}).total);
    return values;
  };
  int reordered = 0;
  for (int salt = 0; salt < 6; ++salt) {
    const MadeUpPrices target(host_target(2), salt, salt % 2 ? "nChw8c" : "nhwc", salt % 2 ? "nhwc" : "nChw8c");
    const auto usual = totals(target, {.without = {"assign_layouts"}}), found = totals(target, {});
    for (std::size_t step = 0; step < usual.size(); ++step)
      CHECK(found[step] == doctest::Approx(usual[step]).epsilon(1e-5));
    const auto assigned = compiled(model, {}, &target),
               plain = compiled(model, {.without = {"assign_layouts"}}, &target);
    reordered += assigned->programs.front().compute.size() != plain->programs.front().compute.size();
  }
  CHECK(reordered > 0);
}

TEST_CASE("watching changes no assigned layout") {
  const MadeUpPrices target(host_target(2), 3, "nhwc", "nChw8c");
  const auto with_watchers = compiled(model, {.taps = {"norm", "last"}}, &target), alone = compiled(model, {}, &target);
  CHECK(print_steps(*with_watchers, with_watchers->programs.front(), false) ==
        print_steps(*alone, alone->programs.front(), false));
}

}  // namespace weir
