// Random models the whole road: text, compile, session, against double precision and against themselves. WEIR_GRAPHS=N
// runs N models instead of 300, WEIR_GRAPHS_FROM=K begins with seed K.
#include <doctest/doctest.h>

#include <cstdlib>

#include <fmt/format.h>

#include "compiler/explain.hpp"
#include "tests/models.hpp"
#include "tests/random_model.hpp"
#include "tests/reference_run.hpp"

namespace weir {
namespace {

constexpr double tolerance = 2e-4;  ///< of a compiled gradient, relative to the tensor's largest entry
constexpr double rounding = 4e-7;   ///< of what was added up on the way to it
constexpr double clear_of_kinks = 2e-5;

std::uint64_t number_from(const char* variable, std::uint64_t standard) {
  const char* text = std::getenv(variable);
  return text ? std::stoull(text) : standard;
}

Tensor as_f32(const Array& array) {
  Tensor tensor(DType::f32, array.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) tensor.data<float>()[i] = static_cast<float>(array[i]);
  return tensor;
}
Tensor as_i32(const Array& array) {
  Tensor tensor(DType::i32, array.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(array[i]);
  return tensor;
}
double dot(const Array& a, const Array& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) sum += a[i] * b[i];
  return sum;
}
double largest_difference(const Tensor& found, const Array& expected) {
  if (found.dims != expected.dims) return std::numeric_limits<double>::infinity();
  double most = 0;
  for (std::int64_t i = 0; i < expected.count(); ++i) {
    const double difference = std::abs(static_cast<double>(found.data<float>()[i]) - expected[i]);
    if (!(difference <= most)) most = difference;  // a NaN stays
  }
  return most;
}

/// What all models together came to: a test that compares nothing fails.
struct Tally {
  int models = 0, near_kinks = 0, gradients = 0, telling = 0, cut = 0, slopes = 0, dead_slopes = 0,
      learning_targets = 0, masks = 0, sample_weights = 0, class_weights = 0, weighted_targets = 0, axes = 0,
      refused = 0, again = 0;
  std::uint64_t arena = 0, bound = 0;
};

/// One model under examination; every complaint is a sentence.
class Examination {
 public:
  Examination(std::uint64_t seed, Tally& tally) : seed_(seed), model_(random_model(seed)), tally_(tally) {}

  void run() {
    spec_.emplace(parsed(model_.spec));
    ++tally_.models;
    for (const TermSpec& term : spec_->loss->terms) count(term);
    draw_values();
    whole_.emplace(computed(trained_graph(*spec_)));
    feed_ = feed_of(parsed(model_.crowd));  // all inputs of both
    if (whole_->training().gradients.empty()) return nothing_trains();
    plan_ = host_plan(model_.spec, {});
    terms_add_up_in_double();
    cuts_are_where_they_should_be();
    if (clear_) compiled_gradients(plan_, "host");
    if (clear_ && seed_ % 4 == 0) compiled_gradients(plan_of(model_.spec, {}, fixed_target(2).get()), "fixed target");
    terms_add_up_compiled();
    watching_is_invisible();
    if (seed_ % 3 == 0) computing_again_is_invisible();
  }

  const std::vector<std::string>& complaints() const { return complaints_; }
  std::string text() const { return model_.spec.dump(1) + "\nwith watchers:\n" + model_.crowd.dump(1); }

 private:
  using Json = nlohmann::ordered_json;

  void expect(bool holds, const std::string& complaint) {
    if (!holds) complaints_.push_back(complaint);
  }

  void count(const TermSpec& term) {
    tally_.learning_targets += term.target.gradient ? 1 : 0;
    tally_.masks += term.mask ? 1 : 0;
    tally_.sample_weights += term.sample_weight ? 1 : 0;
    tally_.class_weights += term.attributes.has("class_weight") || term.attributes.has("ignore_class") ? 1 : 0;
    tally_.axes += term.attributes.has("axis") && term.attributes.integer("axis") != -1 ? 1 : 0;
    tally_.weighted_targets += term.target.gradient && (term.mask || term.sample_weight) ? 1 : 0;
  }

  // --- Values

  double seed() const { return static_cast<double>(spec_->train->seed); }

  Interpreter computed(TrainingGraph training) const {
    Interpreter run = interpreter_of(std::move(training), model_.batch, values_, seed());
    run.compute();
    return run;
  }

  void draw_values() {
    const Graph graph = forward_graph(parsed(model_.crowd));
    for (int draw = 0; draw < 10 && !clear_; ++draw) {
      values_ = drawn(graph, model_.batch, seed_, draw);
      single_.clear();
      clear_ = true;
      for (const TermSpec& term : spec_->loss->terms) {
        const auto made = single_.emplace(term.name, computed(trained_graph(*spec_, term.name))).first;
        clear_ = clear_ && Kinks(made->second).nearest() > clear_of_kinks;
      }
    }
    if (!clear_) ++tally_.near_kinks;
    forward_.emplace(computed(TrainingGraph{.graph = forward_graph(*spec_)}));
  }

  std::map<std::string, Tensor, std::less<>> feed_of(const Spec& spec) const {
    std::map<std::string, Tensor, std::less<>> feed;
    for (const InputSpec& input : spec.inputs) {
      const Array& array = values_.at(input.name);
      feed.emplace(input.name, input.dtype == DType::i32 ? as_i32(array) : as_f32(array));
    }
    return feed;
  }

  Feed feed(const Plan& plan) const {
    Feed views;
    for (const std::string& name : plan.inputs) views.emplace(name, feed_.at(name));
    return views;
  }

  // --- In double

  /// The whole is the weighted sum of its terms.
  void terms_add_up_in_double() {
    for (const auto& [id, gradient] : whole_->training().gradients) {
      const std::string& name = whole_->training().graph.at(id).name;
      Array sum = whole_->gradient(name);
      double size = largest(sum);
      for (double& x : sum.data) x = -x;
      for (const LossTerm& term : whole_->training().terms) {
        const Interpreter& run = single_.at(term.name);
        if (term.role != TermRole::trained || !has_gradient(run, name)) continue;
        const Array& part = run.gradient(name);
        size = std::max(size, std::abs(term.constant_weight) * largest(part));
        for (std::int64_t i = 0; i < sum.count(); ++i) sum[i] += term.constant_weight * part[i];
      }
      expect(largest(sum) <= 1e-11 * size + 1e-13 * added_up(*whole_),
             name + ": the interpreter's gradient is not the sum over terms");
    }
  }

  static bool has_gradient(const Interpreter& run, const std::string& parameter) {
    return run.training().gradients.contains(run.training().graph.find(parameter));
  }

  /// Each term alone against the oracle that knows no routing: who hears it, by how much, and what explain says.
  void cuts_are_where_they_should_be() {
    Diagnostics diagnostics;
    const Explanation explanation = explain(*spec_, diagnostics);
    for (const LossTerm& term : whole_->training().terms) {
      CutTerm oracle(model_.spec, term.name, *forward_, model_.batch, values_, seed());
      const Interpreter& run = single_.at(term.name);
      for (const ParameterExplanation& parameter : explanation.parameters) {
        const bool heard = oracle.heard().contains(parameter.name), has = has_gradient(run, parameter.name);
        const std::string what = term.name + " and " + parameter.name + ": ";
        expect(heard == has, what + (has ? "has a gradient through a cut" : "gets no gradient though nothing is cut"));
        const Influence said = parameter.influences.at(term.name);
        expect(heard ? said == influence_of(term.role) : said == Influence::blocked || said == Influence::unrelated,
               what + "explain says " + std::string(to_string(said)) + (heard ? ", but" : ", but not") + " heard");
        if (!heard) ++tally_.cut;
      }
      if (clear_ && !oracle.heard().empty() && !Kinks(run).any_hit()) slope(term.name, oracle, run);
    }
  }

  static Influence influence_of(TermRole role) {
    if (role == TermRole::trained) return Influence::trained;
    return role == TermRole::watched ? Influence::watched : Influence::excluded;
  }

  /// Central difference along a random direction through all heard parameters.
  void slope(const std::string& term, CutTerm& oracle, const Interpreter& run) {
    Values direction;
    double expected = 0, size = 0;
    for (const std::string& name : oracle.heard()) {
      if (!has_gradient(run, name)) return;
      Dice dice(seed_ ^ std::hash<std::string>{}(name));
      Array along(run.gradient(name).dims);
      for (double& x : along.data) x = 2 * dice.uniform() - 1;
      expected += dot(along, run.gradient(name));
      size += std::sqrt(dot(run.gradient(name), run.gradient(name)));
      direction.emplace(name, std::move(along));
    }
    constexpr double step = 1e-6;
    const double ahead = oracle.value_at(direction, step), behind = oracle.value_at(direction, -step);
    const double found = (ahead - behind) / (2 * step);
    const double noise = 1e-7 * std::max(1.0, std::abs(ahead));
    expect(std::abs(found - expected) <= 1e-5 * size + noise,
           fmt::format("{}: slope {:.9g}, gradient along it {:.9g} of {:.3g}", term, found, expected, size));
    ++tally_.slopes;
    if (size < noise) ++tally_.dead_slopes;
  }

  // --- Compiled

  void nothing_trains() {
    const Compiled refused = compile(model_.spec.dump(), {.threads = 1});
    bool told = false;
    for (const Diagnostic& each : refused.diagnostics.all()) told = told || each.code == "E0403";
    expect(!refused.plan && told && refused.diagnostics.error_count() == 1, "nothing is reached, and it is not told");
    ++tally_.refused;
    terms_add_up_in_double();
    cuts_are_where_they_should_be();
  }

  std::shared_ptr<const Plan> plan_of(const Json& spec, CompileOptions options, const Target* target = nullptr) {
    options.threads = 2;
    options.evaluate = options.predict = false;
    Compiled result = compile(spec.dump(), options, target);
    if (!result.plan) throw Error(ErrorCode::invalid_argument, result.diagnostics.to_text());
    const Program& train = *result.plan->find(ProgramKind::train, model_.batch);
    tally_.arena += train.arena_bytes;
    tally_.bound += train.lower_bound;
    std::uint64_t all = 0;
    for (const Buffer& buffer : train.buffers) all += (byte_count(buffer) + 63) / 64 * 64;
    expect(train.lower_bound <= train.arena_bytes && train.arena_bytes <= all,
           "the arena has " + std::to_string(train.arena_bytes) + " bytes, between " +
               std::to_string(train.lower_bound) + " and " + std::to_string(all) + " are right");
    return result.plan;
  }
  std::shared_ptr<const Plan> host_plan(const Json& spec, CompileOptions options) {
    static const std::unique_ptr<Target> host = host_target(2);
    return plan_of(spec, std::move(options), host.get());
  }

  Session session_of(const std::shared_ptr<const Plan>& plan) const {
    Session session(plan, {.seed = spec_->train->seed, .poison = true});
    for (const Parameter& parameter : plan->parameters)
      session.set_parameter(parameter.name, as_f32(values_.at(parameter.name)));
    return session;
  }

  void compiled_gradients(const std::shared_ptr<const Plan>& plan, const std::string& target) {
    Session session = session_of(plan);
    const StepResult result = session.gradient_step(feed(*plan));
    check_total(result, target);
    const double floor = rounding * added_up(*whole_);
    for (const Parameter& parameter : plan->parameters) {
      if (parameter.statistic) continue;
      const std::string what = parameter.name + " (" + target + "): ";
      expect(parameter.trained == has_gradient(*whole_, parameter.name), what + "trained or not?");
      if (!parameter.trained) continue;
      const Array& expected = whole_->gradient(parameter.name);
      const double difference = largest_difference(session.gradient(parameter.name), expected),
                   size = largest(expected);
      expect(difference <= tolerance * size + floor,
             fmt::format("{}off by {:.3g}, largest entry {:.3g}", what, difference, size));
      ++tally_.gradients;
      if (floor < 0.01 * size) ++tally_.telling;
    }
    first_step(session, *plan, target, floor);
  }

  void check_total(const StepResult& result, const std::string& target) {
    double sum = 0;
    for (const TermValue& term : result.terms) {
      sum += term.contribution;
      expect(term.contribution == term.weight * term.value, std::string(term.name) + ": a wrong contribution");
    }
    expect(result.total == sum, target + ": total is not the sum of the contributions");
    expect(std::abs(sum - whole_->total()) <= 1e-4 * (1 + std::abs(sum)), target + ": total is wrong");
  }

  /// Statistics, and parameters where the step is a plain multiple of the gradient.
  void first_step(Session& session, const Plan& plan, const std::string& target, double floor) {
    Interpreter run = *whole_;
    const double rate = spec_->train->optimizer_attributes.number("learning_rate");
    if (run.training().graph.find_scalar("learning_rate") != none) run.set_scalar("learning_rate", rate);
    run.train_step();
    session.train_step(feed(plan));
    const bool linear = spec_->train->optimizer->name == "sgd";
    for (const Parameter& parameter : plan.parameters) {
      if (run.training().graph.find(parameter.name) == none || (parameter.trained && !linear)) continue;
      const Array& expected = run.value(parameter.name);
      const double difference = largest_difference(session.parameter(parameter.name), expected);
      const double moved =
          parameter.trained ? 2 * rate * (tolerance * largest(whole_->gradient(parameter.name)) + floor) : 0;
      const double kept = parameter.trained || parameter.statistic ? 1e-5 * (largest(expected) + 1e-3) : 0;
      expect(difference <= moved + kept,
             fmt::format("{} ({}) after a step: off by {:.3g}", parameter.name, target, difference));
    }
  }

  /// Of the compiled gradients, each term compiled alone.
  void terms_add_up_compiled() {
    Session whole = session_of(plan_);
    whole.gradient_step(feed(*plan_));
    std::map<std::string, Array> sums;
    for (const Parameter& parameter : plan_->parameters)
      if (parameter.trained) sums.emplace(parameter.name, Array(parameter.dims));
    for (const TermSpec& term : spec_->loss->terms) {
      const auto alone = host_plan(model_.spec, {.only_term = term.name});
      Session part = session_of(alone);
      part.gradient_step(feed(*alone));
      for (const Parameter& parameter : alone->parameters) add_part(part, parameter, term, sums);
    }
    const double floor = 3 * rounding * added_up(*whole_);
    for (const auto& [name, sum] : sums)
      expect(largest_difference(whole.gradient(name), sum) <= tolerance * largest(sum) + floor,
             name + ": the compiled gradient is not the sum over terms");
  }

  void add_part(const Session& part, const Parameter& parameter, const TermSpec& term,
                std::map<std::string, Array>& sums) {
    if (parameter.statistic) return;
    expect(parameter.trained == has_gradient(single_.at(term.name), parameter.name),
           parameter.name + ": " + term.name + " alone trains it or not?");
    if (!parameter.trained || !excluded_by_nothing(term)) return;
    const Tensor gradient = part.gradient(parameter.name);
    Array& sum = sums.at(parameter.name);
    for (std::int64_t i = 0; i < sum.count(); ++i)
      sum[i] += term.weight.value * static_cast<double>(gradient.data<float>()[i]);
  }

  bool excluded_by_nothing(const TermSpec& term) const {
    for (const LossTerm& each : whole_->training().terms)
      if (each.name == term.name) return each.role == TermRole::trained;
    return false;
  }

  using Bits = std::map<std::string, std::vector<std::byte>>;

  Bits three_steps(const std::shared_ptr<const Plan>& plan) {
    Session session(plan, {.seed = spec_->train->seed, .poison = true});
    for (int step = 0; step < 3; ++step) check_sum(session.train_step(feed(*plan)));
    Bits bits;
    for (const Parameter& parameter : plan->parameters) bits[parameter.name] = session.parameter(parameter.name).bytes;
    return bits;
  }

  void check_sum(const StepResult& result) {
    double sum = 0;
    for (const TermValue& term : result.terms) sum += term.contribution;
    expect(result.total == sum, "total is not the sum of the contributions");
  }

  /// More terms that do not train, metrics, taps and tails change no bit and no trained step.
  void watching_is_invisible() {
    const auto crowd = host_plan(model_.crowd, {.taps = model_.taps});
    const auto steps = [&](const Plan& plan) {
      return print_steps(plan, *plan.find(ProgramKind::train, model_.batch), false);
    };
    expect(steps(*plan_) == steps(*crowd), "watchers change the text of the trained steps");
    const auto expected = three_steps(plan_), found = three_steps(crowd);
    for (const auto& [name, bits] : expected)
      expect(found.at(name) == bits, name + ": watchers change bits after three steps");
    if (seed_ % 10 == 0) through_a_file(*crowd, found);
  }

  /// In the least memory that there is: the same bits.
  void computing_again_is_invisible() {
    CompileOptions options{.threads = 2, .evaluate = false, .predict = false, .memory_curve = true};
    const Compiled kept = compile(model_.spec.dump(), options);
    const MemoryPoint& least = kept.memory_curves.at(0).points.back();
    options.memory_curve = false;
    options.memory_budget = kept.plan->store_bytes + least.arena_bytes;
    const Compiled fitted = compile(model_.spec.dump(), options);
    expect(fitted.plan && fitted.plan->arena_bytes() <= least.arena_bytes, "the least memory is not enough");
    if (!fitted.plan || least.again.empty()) return;
    ++tally_.again;
    expect(three_steps(fitted.plan) == three_steps(plan_), "computing again changes bits after three steps");
  }

  void through_a_file(const Plan& plan, const Bits& expected) {
    const auto again = std::make_shared<const Plan>(plan_from_json(plan_to_json(plan)));
    expect(*again == plan, "a plan written and read is another one");
    expect(three_steps(again) == expected, "a plan written and read runs to other bits");
  }

  std::uint64_t seed_;
  RandomModel model_;
  Tally& tally_;
  std::optional<Spec> spec_;
  Values values_;
  bool clear_ = false;  ///< of kinks
  std::map<std::string, Tensor, std::less<>> feed_;
  std::shared_ptr<const Plan> plan_;
  std::optional<Interpreter> forward_, whole_;
  std::map<std::string, Interpreter> single_;
  std::vector<std::string> complaints_;
};

}  // namespace

TEST_CASE("random models compute, train, explain and watch as the specification says") {
  const std::uint64_t first = number_from("WEIR_GRAPHS_FROM", 0), count = number_from("WEIR_GRAPHS", 300);
  Tally tally;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Examination examination(seed, tally);
    std::string complaints;
    try {
      examination.run();
    } catch (const std::exception& failure) {
      complaints += "\n  stopped: " + std::string(failure.what());
    }
    for (const std::string& complaint : examination.complaints()) complaints += "\n  " + complaint;
    CHECK_MESSAGE(complaints.empty(), "seed ", seed, ":", complaints, "\n", examination.text());
  }
  MESSAGE(tally.models, " models (", tally.near_kinks, " too near to a kink), ", tally.gradients, " gradients, ",
          tally.telling, " of them telling; ", tally.cut, " cut, ", tally.slopes, " slopes (", tally.dead_slopes,
          " flat), ", tally.refused, " trained nothing; arena ", tally.arena, " bytes of at least ", tally.bound);
  if (count < 300) return;
  CHECK(tally.near_kinks < 0.05 * tally.models);
  CHECK(tally.telling > 0.8 * tally.gradients);
  CHECK(tally.slopes > tally.models);
  CHECK(tally.dead_slopes < 0.1 * tally.slopes);
  CHECK(tally.cut > tally.models);
  CHECK(tally.refused < 0.1 * tally.models);
  CHECK(tally.learning_targets > 0.02 * tally.models);
  CHECK(tally.masks > 0.3 * tally.models);
  CHECK(tally.sample_weights > 0.3 * tally.models);
  CHECK(tally.class_weights > 0.08 * tally.models);
  CHECK(tally.weighted_targets > 0);
  CHECK(tally.axes > 5);
  CHECK(tally.again > 0.1 * tally.models);
  CHECK(static_cast<double>(tally.arena) < 1.05 * static_cast<double>(tally.bound));
}

}  // namespace weir
