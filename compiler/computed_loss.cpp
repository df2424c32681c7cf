#include "compiler/computed_loss.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "runtime/error.hpp"
#include "runtime/random.hpp"

namespace weir {
namespace {

constexpr int rounding_runs = 2;
constexpr double rounding_margin = 16;  ///< kernels round inside their sums too, the runs only behind each node
constexpr double f32_unit = 0x1p-24, double_unit = 0x1p-53;

std::vector<double> numbers(const Tensor& tensor) {
  const float* data = tensor.data<float>();
  return {data, data + tensor.count()};
}

double total(const TrainingGraph& training, const std::vector<Array>& arrays) {
  double sum = 0;
  for (const LossTerm& term : training.terms)
    if (term.role == TermRole::trained)
      if (const double weight = arrays[static_cast<std::size_t>(term.weight)][0]; weight != 0)
        sum += weight * arrays[static_cast<std::size_t>(term.shown())][0];
  return sum;
}

double square_distance(const Array& a, const Array& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// Root mean square of what rounding to f32 moved in a gradient; the largest would be that of a unit that fell over its
/// kink.
void measure_rounding(const Interpreter& reference, std::int64_t batch, std::uint64_t key, ComputedLoss& loss) {
  const TrainingGraph& training = reference.training();
  std::map<std::string, double> squares;
  for (int run = 0; run < rounding_runs; ++run) {
    const auto arrays = run_with_rounding(reference, batch, f32_unit, key + static_cast<unsigned>(run));
    for (const auto& [parameter, gradient] : training.gradients)
      squares[training.graph.at(parameter).name] +=
          square_distance(reference.value(gradient), arrays[static_cast<std::size_t>(gradient)]);
  }
  for (auto& [name, gradient] : loss.gradients) {
    const double count = rounding_runs * static_cast<double>(gradient.reference.size());
    gradient.rounding = rounding_margin * std::sqrt(squares[name] / count);
  }
}

void measure_noise(const Interpreter& reference, std::int64_t batch, std::uint64_t key, ComputedLoss& loss) {
  const auto arrays = run_with_rounding(reference, batch, double_unit, key);
  const double moved = std::abs(total(reference.training(), arrays) - reference.total());
  const double noise = rounding_margin * std::max(moved, DBL_EPSILON * std::abs(reference.total()));
  for (auto& [name, gradient] : loss.gradients) gradient.noise = noise;
}

}  // namespace

Interpreter compute_reference(const VerifySubjects& subjects, const TrainingGraph& training, const MadeUpBatch& batch) {
  Interpreter run(training, subjects.batch);
  for (const auto* values : {&batch.inputs, &batch.parameters})
    for (const auto& [name, tensor] : *values) run.set(name, as_array(tensor));
  if (training.graph.find_scalar("seed") != none) run.set_scalar("seed", static_cast<double>(subjects.seed));
  run.compute();
  return run;
}

Session open_session(const VerifySubjects& subjects, const VerifySubject& subject, const MadeUpBatch& batch) {
  Session session(subject.plan, {.seed = subjects.seed, .initialize = false, .poison = true});
  for (const auto& [name, tensor] : batch.parameters) session.set_parameter(name, tensor);
  return session;
}

void do_step(Session& session, const MadeUpBatch& batch, bool update) {
  try {
    if (update)
      session.train_step(batch.feed());
    else
      session.gradient_step(batch.feed());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::non_finite) throw;
    throw Error(ErrorCode::invalid_spec, std::string("there is nothing to compare at the made-up inputs and "
                                                     "parameters, take another seed or batch size: ") +
                                             error.what());
  }
}

ComputedLoss compute_loss(const VerifySubjects& subjects, const VerifySubject& subject, const MadeUpBatch& batch) {
  ComputedLoss loss;
  const Interpreter reference = compute_reference(subjects, subject.training, batch);
  for (const LossTerm& term : subject.training.terms)
    loss.term_weights.push_back(term.role == TermRole::trained ? reference.value(term.weight)[0] : 0);
  for (const auto& [parameter, gradient] : subject.training.gradients) {
    LossGradient& made = loss.gradients[subject.training.graph.at(parameter).name];
    made.reference = reference.value(gradient).data;
    for (double value : made.reference) made.largest = std::max(made.largest, std::abs(value));
  }
  const std::uint64_t key = random_key(subjects.seed, "verify rounding");
  measure_rounding(reference, subjects.batch, key, loss);
  measure_noise(reference, subjects.batch, key, loss);
  Session session = open_session(subjects, subject, batch);
  do_step(session, batch, false);
  for (const OutputBinding& binding : subject.plan->find(ProgramKind::train, subjects.batch)->gradients) {
    loss.compiled.push_back(binding.name);
    if (const auto found = loss.gradients.find(binding.name); found != loss.gradients.end())
      found->second.compiled = numbers(session.gradient(binding.name));
  }
  return loss;
}

}  // namespace weir
