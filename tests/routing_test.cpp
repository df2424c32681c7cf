// Who hears whom: cuts, skipped, frozen and shared layers, against double precision and term by term.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "compiler/explain.hpp"
#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// a → b → c with a loss on b and one on c; d beside c.
const std::string chain = R"({
  "format": "weir/1", "name": "chain",
  "inputs": { "x": { "shape": [3] }, "y": { "shape": [2] } },
  "layers": [
    { "name": "a", "type": "dense", "from": "x", "units": 4, "activation": "tanh"/*a*/ },
    { "name": "norm", "type": "batch_normalization"/*norm*/ },
    { "name": "b", "type": "dense", "units": 4, "activation": "tanh"/*b*/ },
    { "name": "drop", "type": "dropout", "rate": 0.5/*drop*/ },
    { "name": "c", "type": "dense", "units": 2 },
    { "name": "d", "type": "dense", "from": "b", "units": 2/*d*/ }
  ],
  "loss": { "unreached": "allow", "terms": {
    "inner": { "type": "mean_squared_error", "at": "b", "target": { "constant": 0.5 }, "weight": 0.7/*inner*/ },
    "outer": { "type": "mean_squared_error", "at": "c", "target": { "input": "y" }/*outer*/ },
    "side":  { "type": "mean_absolute_error", "at": "d", "target": { "input": "y" }, "weight": 0.3 }
  } },
  "train": { "batch_size": 5, "seed": 2, "optimizer": { "type": "adam" } }
})";

const std::set<std::string> layers = {"a", "norm", "b", "c", "d"};

Array as_array(const Tensor& tensor) {
  Array array(tensor.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) array[i] = static_cast<double>(tensor.data<float>()[i]);
  return array;
}

/// The double-precision oracle with the session's parameters and the given data.
Interpreter oracle_for(const std::string& text, const Session& session, const Tensor& x, const Tensor& y,
                       const std::string& only = "") {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(text, "chain", diagnostics);
  TrainingGraph training = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics, only);
  REQUIRE_FALSE(diagnostics.has_errors());
  Interpreter oracle(prune(differentiate(std::move(training))), 5);
  for (const Parameter& parameter : session.plan().parameters)
    oracle.set(parameter.name, as_array(session.parameter(parameter.name)));
  oracle.set("x", as_array(x));
  oracle.set("y", as_array(y));
  if (oracle.training().graph.find_scalar("seed") != none) oracle.set_scalar("seed", 2);
  oracle.compute();
  return oracle;
}

void check_close(const Tensor& found, const Array& expected, const std::string& what) {
  double worst = 0, most = 1e-3;
  for (std::int64_t i = 0; i < expected.count(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(found.data<float>()[i]) - expected[i]));
    most = std::max(most, std::abs(expected[i]));
  }
  INFO(what);
  CHECK(worst <= 1e-4 * most);
}

/// Layers whose kernel or gamma has a gradient.
std::set<std::string> trained_layers(const Session& session) {
  std::set<std::string> trained;
  for (const Parameter& parameter : session.plan().parameters)
    if (parameter.trained) trained.insert(parameter.name.substr(0, parameter.name.find('.')));
  return trained;
}

/// Compiled against the oracle, and the whole against the sum of its terms.
std::set<std::string> verified(const std::string& text) {
  Session session(compiled(text), {.seed = 2, .poison = true});
  const Tensor x = made_up({5, 3}, 1), y = made_up({5, 2}, 2);
  session.gradient_step({{"x", x}, {"y", y}});
  const Interpreter whole = oracle_for(text, session, x, y);
  const double weights[] = {0.7, 1, 0.3};
  for (const Parameter& parameter : session.plan().parameters) {
    if (!parameter.trained) continue;
    check_close(session.gradient(parameter.name), whole.gradient(parameter.name), parameter.name);
    Array sum(parameter.dims);
    int term = 0;
    for (const char* name : {"inner", "outer", "side"}) {
      const Interpreter alone = oracle_for(text, session, x, y, name);
      const double weight = weights[term++];
      if (!alone.training().gradients.contains(alone.training().graph.find(parameter.name))) continue;
      for (std::int64_t i = 0; i < sum.count(); ++i) sum[i] += weight * alone.gradient(parameter.name)[i];
    }
    for (std::int64_t i = 0; i < sum.count(); ++i)
      CHECK(sum[i] == doctest::Approx(whole.gradient(parameter.name)[i]).epsilon(1e-9));
  }
  return trained_layers(session);
}

/// Parameters of which this term alone says that it trains them.
std::set<std::string> reached_by(const std::string& text, const std::string& term) {
  Diagnostics diagnostics;
  const Explanation explanation = explain(parse_spec(text, "chain", diagnostics), diagnostics);
  std::set<std::string> reached;
  for (const ParameterExplanation& parameter : explanation.parameters)
    if (parameter.influences.at(term) == Influence::trained) reached.insert(parameter.layer);
  return reached;
}

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("without any routing every term reaches everything before it") {
  CHECK(verified(chain) == layers);
  CHECK(reached_by(chain, "inner") == Names{"a", "norm", "b"});
  CHECK(reached_by(chain, "outer") == Names{"a", "norm", "b", "c"});
}

TEST_CASE("a term's gradient ends at its cut: nothing before it hears the term, nor the cut node's own parameters") {
  const std::string text = with(chain, "/*outer*/", R"(, "stop_at": ["b"])");
  CHECK(verified(text) == layers);
  CHECK(reached_by(text, "outer") == Names{"c"});
  CHECK(reached_by(text, "inner") == Names{"a", "norm", "b"});
}

TEST_CASE("to train a layer but nothing before it, cut what it reads") {
  const std::string text = with(chain, "/*outer*/", R"(, "stop_at": ["norm"])");
  CHECK(verified(text) == layers);
  CHECK(reached_by(text, "outer") == Names{"b", "c"});
}

TEST_CASE("a cut at the term's own node leaves it nothing to train") {
  const std::string text = with(chain, "/*inner*/", R"(, "stop_at": ["b"])");
  CHECK(reached_by(text, "inner").empty());
  CHECK(verified(text) == layers);
}

TEST_CASE("a cut at a softmax holds for the logits that a crossentropy at it reads") {
  const std::string text = R"({
    "format": "weir/1", "inputs": { "x": { "shape": [3] }, "c": { "shape": [], "dtype": "i32" } },
    "layers": [ { "name": "out", "type": "dense", "from": "x", "units": 4 }, { "name": "soft", "type": "softmax" } ],
    "loss": { "terms": {
      "cut": { "type": "sparse_categorical_crossentropy", "at": "soft", "target": { "input": "c" }/*cut*/ },
      "other": { "type": "value", "at": "out" } } },
    "train": { "optimizer": { "type": "sgd" } } })";
  const auto trained = [](const std::string& model) {
    Diagnostics diagnostics;
    return explain(parse_spec(model, "model", diagnostics), diagnostics).terms.at(0).reaches.size();
  };
  CHECK(trained(text) == 2);
  CHECK(trained(with(text, "/*cut*/", R"(, "stop_at": ["soft"])")) == 0);
}

TEST_CASE("skip leaves a layer's parameters alone and lets the gradient pass") {
  const std::string text = with(chain, "/*outer*/", R"(, "skip": ["b", "norm"])");
  CHECK(verified(text) == layers);
  CHECK(reached_by(text, "outer") == Names{"a", "c"});
}

TEST_CASE("only trains the parameters of these layers and no others") {
  const std::string text = with(chain, "/*outer*/", R"(, "only": ["a"])");
  CHECK(verified(text) == Names{"a", "norm", "b", "d"});
  CHECK(reached_by(text, "outer") == Names{"a"});
}

TEST_CASE("different routings of several terms are told apart at every value") {
  const std::string text = with(with(chain, "/*outer*/", R"(, "skip": ["a"])"), "/*inner*/", R"(, "stop_at": ["a"])");
  CHECK(verified(text) == layers);
  CHECK(reached_by(text, "outer") == Names{"norm", "b", "c"});
  CHECK(reached_by(text, "inner") == Names{"norm", "b"});
  CHECK(reached_by(text, "side") == Names{"a", "norm", "b", "d"});
}

TEST_CASE("terms whose routings agree share one gradient, so a cut that changes nothing adds no step") {
  const auto steps = [](const std::string& text) {
    return compiled(text)->find(ProgramKind::train, 5)->compute.size();
  };
  CHECK(steps(with(chain, "/*outer*/", R"(, "skip": ["d"])")) == steps(chain));
  CHECK(steps(with(chain, "/*outer*/", R"(, "skip": ["a"])")) > steps(chain));
}

TEST_CASE("stop_gradient at a layer holds for every term") {
  const std::string text = with(chain, "/*b*/", R"(, "stop_gradient": true)");
  CHECK(verified(text) == Names{"c", "d"});
}

TEST_CASE("a frozen layer gets no gradient and no state, and what is before it still learns") {
  const std::string text = with(chain, "/*b*/", R"(, "trainable": false)");
  CHECK(verified(text) == Names{"a", "norm", "c", "d"});
  const std::shared_ptr<const Plan> plan = compiled(text);
  for (const Parameter& parameter : plan->parameters)
    if (parameter.name == "b.kernel") CHECK(parameter.state.empty());
}

TEST_CASE("a frozen batch_normalization uses its moving statistics and moves none") {
  const std::string text = with(chain, "/*norm*/", R"(, "trainable": false)");
  CHECK(verified(text) == Names{"a", "b", "c", "d"});
  Session session(compiled(text), {.seed = 2});
  const auto before = session.parameter("norm.moving_mean").bytes;
  session.train_step({{"x", made_up({5, 3}, 1)}, {"y", made_up({5, 2}, 2)}});
  CHECK(session.parameter("norm.moving_mean").bytes == before);
}

TEST_CASE("training false computes as in evaluation, with parameters that still learn") {
  const std::string text =
      with(with(chain, "/*norm*/", R"(, "training": false)"), "/*drop*/", R"(, "training": false)");
  CHECK(verified(text) == layers);
  Session session(compiled(text), {.seed = 2});
  const Tensor x = made_up({5, 3}, 1), y = made_up({5, 2}, 2);
  const auto mean = session.parameter("norm.moving_mean").bytes, gamma = session.parameter("norm.gamma").bytes;
  CHECK(session.gradient_step({{"x", x}, {"y", y}}).total ==
        doctest::Approx(session.evaluate({{"x", x}, {"y", y}}).total).epsilon(1e-6));
  session.train_step({{"x", x}, {"y", y}});
  CHECK(session.parameter("norm.moving_mean").bytes == mean);
  CHECK(session.parameter("norm.gamma").bytes != gamma);
}

TEST_CASE("a layer that shares owns nothing, and the owner hears both uses") {
  const std::string shared =
      with(chain, "\"name\": \"b\", \"type\": \"dense\", \"units\": 4, \"activation\": \"tanh\"/*b*/ }",
           R"("name": "b0", "type": "dense", "units": 4, "activation": "tanh" },
    { "name": "b", "type": "dense", "share": "b0", "units": 4, "activation": "tanh" })");
  CHECK(verified(shared) == Names{"a", "norm", "b0", "c", "d"});
  const std::shared_ptr<const Plan> plan = compiled(shared);
  for (const Parameter& parameter : plan->parameters) CHECK(parameter.name.substr(0, 2) != "b.");
  const Compiled misfit = compile(with(shared, "\"share\": \"b0\"", "\"share\": \"c\""));
  CHECK_FALSE(misfit.plan);
  CHECK(misfit.diagnostics.to_text().find("needs a kernel [4, 2], but c.kernel, which is shared, is [4, 4]") !=
        std::string::npos);
}

TEST_CASE("statistics of a shared normalization move once for each use, in file order") {
  const std::string text =
      with(chain, "{ \"name\": \"drop\"",
           R"({ "name": "again", "type": "batch_normalization", "share": "norm" }, { "name": "drop")");
  const auto plan = compiled(text);
  int moves = 0;
  for (const Step& step : plan->find(ProgramKind::train, 5)->commit)
    moves += step.node.starts_with("norm.moving_mean") ? 1 : 0;
  CHECK(moves == 2);
  CHECK(verified(text) == layers);
}

TEST_CASE("gradients of a grouped kernel that part ways are added in its own layout") {
  const std::string text = R"({
    "format": "weir/1", "name": "chain",
    "inputs": { "x": { "shape": [5, 5, 4] }, "y": { "shape": [2] } },
    "layers": [
      { "name": "first", "type": "conv2d", "from": "x", "filters": 8, "kernel_size": 3, "groups": 2 },
      { "name": "second", "type": "conv2d", "filters": 8, "kernel_size": 3, "groups": 4 },
      { "name": "third", "type": "conv2d", "from": "second", "filters": 8, "kernel_size": 1, "groups": 8 },
      { "name": "again", "type": "conv2d", "from": "third", "filters": 8, "kernel_size": 1, "groups": 8,
        "share": "third" }
    ],
    "loss": { "terms": {
      "inner": { "type": "mean_squared_error", "at": "second", "target": { "constant": 1 }, "skip": ["first"] },
      "outer": { "type": "mean_squared_error", "at": "again", "target": { "constant": 0.5 } } } },
    "train": { "batch_size": 3, "optimizer": { "type": "sgd", "momentum": 0.9 } } })";
  const auto gradients = [&](const Target* target) {
    Session session(compiled(text, {}, target), {.seed = 4, .poison = true});
    const Tensor x = made_up({3, 5, 5, 4}, 1);
    session.train_step({{"x", x}});
    session.gradient_step({{"x", x}});
    std::map<std::string, Tensor> all;
    for (const char* name : {"first.kernel", "second.kernel", "third.kernel"}) all[name] = session.gradient(name);
    return all;
  };
  const auto host = gradients(nullptr), plain = gradients(fixed_target(1).get());
  for (const auto& [name, tensor] : host) {
    Array expected(tensor.dims);
    for (std::int64_t i = 0; i < expected.count(); ++i)
      expected[i] = static_cast<double>(plain.at(name).data<float>()[i]);
    check_close(tensor, expected, name);
  }
}

TEST_CASE("routing without effect and frozen random layers are warned of, each once") {
  const auto warnings = [](const std::string& text) {
    const Compiled result = compile(text, {.batch_sizes = {5, 3}});
    REQUIRE(result.plan);
    return result.diagnostics.to_text();
  };
  CHECK(warnings(chain).empty());
  const std::string skipped =
      warnings(with(with(chain, "/*outer*/", R"(, "skip": ["drop", "d"])"), "/*b*/", R"(, "trainable": false)"));
  for (const char* part :
       {"\"skip\" names \"drop\", which owns no parameters", "names \"d\", which is not reached by this term",
        "layer \"b\" is frozen with random initial values"}) {
    CHECK(skipped.find(part) != std::string::npos);
    CHECK(skipped.find(part) == skipped.rfind(part));
  }
  const std::string nothing = warnings(with(chain, "/*inner*/", R"(, "stop_at": ["b"])"));
  CHECK(nothing.find("loss term \"inner\" trains no parameter") != std::string::npos);
}

TEST_CASE("where no kept term reaches anything, training is refused, and what is in the way of each is told") {
  const auto all_cut = [](std::string text) {
    for (const char* term : {"/*inner*/", "/*outer*/"}) text = with(text, term, R"(, "stop_at": ["b", "c"])");
    return with(text, "/*d*/", R"(, "trainable": false, "stop_gradient": true)");
  };
  const std::string text = all_cut(chain);
  const Compiled refused = compile(text);
  CHECK(!refused.plan);
  REQUIRE(refused.diagnostics.error_count() == 1);
  const Diagnostic& error = refused.diagnostics.all().front();
  CHECK(error.code == "E0403");
  std::string notes;
  for (const std::string& note : error.notes) notes += note + "\n";
  CHECK(notes ==
        "inner: stops at b (stop_at of this term)\nouter: stops at c (stop_at of this term)\n"
        "side: stops at d (stop_gradient of the layer); frozen: layer d\n");
  CHECK(!error.help.empty());
  CHECK(compile(text, {.train = false}).plan);
  CHECK(compile(with(text, R"("stop_at": ["b", "c"])", R"("stop_at": ["a"])")).plan);  // one way is enough
  std::string frozen = chain;
  for (const char* layer : {"/*a*/", "/*norm*/", "/*b*/", "/*d*/"})
    frozen = with(frozen, layer, R"(, "trainable": false)");
  frozen = with(frozen, R"("units": 2 })", R"("units": 2, "trainable": false })");
  const Compiled many = compile(frozen);
  REQUIRE(many.diagnostics.error_count() == 1);
  CHECK(many.diagnostics.all().front().notes.at(1) ==
        "outer: frozen: layer a; frozen: layer norm; frozen: layer b; frozen: layer c");
}

TEST_CASE("a value with more consumers than one sum takes has them all added") {
  std::string layers_text, from;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "r" + std::to_string(i);
    layers_text += "{ \"name\": \"" + name + "\", \"type\": \"tanh\", \"from\": \"b\" }, ";
    from += (i ? ", \"" : "\"") + name + "\"";
  }
  const std::string text = with(with(chain, "{ \"name\": \"drop\"", layers_text + "{ \"name\": \"drop\""),
                                "\"name\": \"d\", \"type\": \"dense\", \"from\": \"b\"",
                                "\"name\": \"wide\", \"type\": \"concatenate\", \"from\": [" + from +
                                    "] }, { \"name\": \"d\", \"type\": \"dense\", \"from\": \"wide\"");
  CHECK(verified(with(text, "\"name\": \"c\", \"type\": \"dense\"",
                      "\"name\": \"c\", \"type\": \"dense\", \"from\": \"drop\"")) == layers);
}

}  // namespace weir
