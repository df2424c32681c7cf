// A service's view of weir: compile a specification from memory, train on buffers of its own, change a loss weight
// while running, predict.
#include <cstdio>
#include <vector>

#include "compiler/compile.hpp"
#include "runtime/session.hpp"

namespace {

// Two inputs, a loss on the hidden layer beside the last one.
constexpr const char* specification = R"({
  "format": "weir/1",
  "inputs": { "x": { "shape": [2] }, "y": { "shape": [1] } },
  "layers": [
    { "name": "hidden", "type": "dense", "from": "x", "units": 16, "activation": "tanh" },
    { "name": "output", "type": "dense", "units": 1 }
  ],
  "loss": { "terms": {
    "small": { "type": "mean_squared_error", "at": "hidden", "target": { "constant": 0 }, "weight": 0.001 },
    "fit":   { "type": "mean_squared_error", "at": "output", "target": { "input": "y" } }
  } },
  "train": { "optimizer": { "type": "adam", "learning_rate": 0.02 }, "batch_size": 8 }
})";

// y = x0 · x1 on eight points.
void fill(std::vector<float>& x, std::vector<float>& y) {
  for (int i = 0; i < 8; ++i) {
    x.push_back(static_cast<float>(i % 4) / 2 - 0.75f);
    x.push_back(static_cast<float>(i / 4) - 0.5f);
    y.push_back(x[x.size() - 2] * x[x.size() - 1]);
  }
}

int run() {
  const weir::Compiled compiled = weir::compile(specification, {.name = "product", .threads = 1});
  if (!compiled.plan) {
    std::fputs(compiled.diagnostics.to_text().c_str(), stderr);
    return 1;
  }
  weir::Session session(compiled.plan, {.seed = 7});

  std::vector<float> x, y;
  fill(x, y);
  const weir::Feed batch = {{"x", {x.data(), weir::DType::f32, {8, 2}}}, {"y", {y.data(), weir::DType::f32, {8, 1}}}};

  const double before = session.evaluate(batch).total;
  for (int step = 0; step < 300; ++step) {
    if (step == 200) session.set_weight("small", 0);  // let go of the hidden layer
    session.train_step(batch);
  }
  const weir::StepResult after = session.evaluate(batch);
  for (const weir::TermValue& term : after.terms)
    std::printf("%.*s: %.6f x %g\n", static_cast<int>(term.name.size()), term.name.data(), term.value, term.weight);
  std::printf("total %.6f, before training %.6f\n", after.total, before);

  const auto outputs = session.predict({{"x", {x.data(), weir::DType::f32, {1, 2}}}});
  std::printf("%g times %g is about %.2f\n", x[0], x[1], outputs.at("output").data<float>()[0]);
  return after.total < before / 20 ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const weir::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
