#include "runtime/session.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "runtime/arena.hpp"
#include "runtime/feed_check.hpp"
#include "runtime/finite.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/kernel.hpp"
#include "runtime/parallel.hpp"

namespace weir {
namespace {

[[noreturn]] void bad_data(const std::string& message) { throw Error(ErrorCode::invalid_data, message); }

void check_fingerprint(const Plan& plan) {
  if (plan.fingerprint.library == "any") return;
  const Fingerprint here = host_target(plan.fingerprint.threads)->fingerprint();
  if (here == plan.fingerprint) return;
  throw Error(ErrorCode::fingerprint_mismatch, "the plan was made for " + plan.fingerprint.library + " on " +
                                                   plan.fingerprint.instructions + ", this machine runs " +
                                                   here.library + " on " + here.instructions +
                                                   "; compile the specification here");
}

/// The executables of one list of steps, in runs of equal thread counts.
struct StepList {
  struct Run {
    int threads;
    std::size_t end;
  };
  std::vector<std::unique_ptr<Executable>> steps;
  std::vector<Run> runs;

  void add(std::unique_ptr<Executable> step, int threads) {
    steps.push_back(std::move(step));
    if (runs.empty() || runs.back().threads != threads) runs.push_back({threads, 0});
    runs.back().end = steps.size();
  }

  /// times: null, or as many numbers as there are steps.
  void execute(double* times) {
    std::size_t next = 0;
    for (const Run& run : runs) {
      const ThreadScope scope(run.threads);
      if (times)
        next = execute_timed(next, run.end, times);
      else
        for (; next < run.end; ++next) steps[next]->run();
    }
  }

 private:
  std::size_t execute_timed(std::size_t next, std::size_t end, double* times) {
    using Clock = std::chrono::steady_clock;
    for (Clock::time_point start = Clock::now(); next < end; ++next) {
      steps[next]->run();
      const Clock::time_point now = Clock::now();
      times[next] = std::chrono::duration<double>(now - start).count();
      start = now;
    }
    return next;
  }
};

struct ReadyProgram {
  struct ScalarCheck {
    std::size_t check, scalar;
    int weight;  ///< the scalar that weighs the term whose value it is, or -1; nothing is checked where it is 0
  };

  const Program* program = nullptr;
  bool ready = false;
  StepList refresh = {}, compute = {}, commit = {};
  std::vector<std::uint64_t> input_bytes = {};  ///< of each input's buffer; sizes are worked out once
  std::vector<ScalarCheck> scalar_checks = {};
  std::vector<Bounded> bounded = {};             ///< tensors that are checked, padding included
  std::vector<std::size_t> bounded_checks = {};  ///< of each of them: which check it is
};

/// The weight scalar of the term whose value the check looks at, or -1.
int weight_of(const Program& program, const Check& check) {
  for (const TermReport& term : program.terms)
    if (check.buffer == BufferRef{BufferRef::Space::scalar, term.value}) return term.weight;
  return -1;
}

}  // namespace

struct Session::State {
  State(std::shared_ptr<const Plan> the_plan, const SessionOptions& the_options)
      : plan(std::move(the_plan)),
        options(the_options),
        store(plan->store_bytes, "the model's parameters and optimizer state"),
        arena(plan->arena_bytes(), "a training step") {
    for (const Scalar& scalar : plan->scalars) scalars.push_back(scalar.initial);
    step = index("step"), rows = index("rows"), rate = index("learning_rate");
    scalars[index("seed")] = static_cast<double>(options.seed);
    given = scalars;
    scheduled.assign(plan->schedules.size(), true);
    find_weights();
    for (const Program& program : plan->programs) programs.push_back({.program = &program});
    if (options.initialize)
      for (const Parameter& parameter : plan->parameters) {
        const Tensor value = initial_value(parameter.initializer, parameter.dims, options.seed, parameter.name);
        pack(buffer(parameter).shape, value.bytes.data(), store.at(buffer(parameter).offset));
      }
  }

  std::size_t index(std::string_view scalar) const { return static_cast<std::size_t>(plan->scalar(scalar)); }
  const Buffer& buffer(const Parameter& parameter) const {
    return plan->store[static_cast<std::size_t>(parameter.buffer)];
  }

  const Parameter& find(std::string_view name) const {
    for (const Parameter& parameter : plan->parameters)
      if (parameter.name == name) return parameter;
    throw Error(ErrorCode::not_found, "the model has no parameter \"" + std::string(name) + "\"");
  }

  void* address(const Program& program, BufferRef ref) {
    const auto at = static_cast<std::size_t>(ref.index);
    if (ref.space == BufferRef::Space::scalar) return &scalars[at];
    if (ref.space == BufferRef::Space::store) return store.at(plan->store[at].offset);
    return arena.at(program.buffers[at].offset);
  }

  /// Where the times of a list go that begins behind so many steps; null where nobody asked.
  double* times_from(std::size_t first) { return timing ? times.data() + first : nullptr; }

  void start_timing(const Program& program) {
    if (timing) times.assign(program.refresh.size() + program.compute.size() + program.commit.size(), 0);
  }

  void prepare(ReadyProgram& ready) {
    if (ready.ready) return;
    store.wait();
    arena.wait();
    const std::pair<const std::vector<Step>*, StepList*> lists[] = {{&ready.program->refresh, &ready.refresh},
                                                                    {&ready.program->compute, &ready.compute},
                                                                    {&ready.program->commit, &ready.commit}};
    for (const auto& [steps, list] : lists) {
      *list = {};
      for (const Step& one : *steps) {
        const Recipe& recipe = plan->recipes[static_cast<std::size_t>(one.recipe)];
        std::vector<void*> pointers;
        for (BufferRef ref : one.operands) pointers.push_back(address(*ready.program, ref));
        list->add(make_executable(recipe, pointers), recipe.threads);
      }
    }
    const std::vector<Buffer>& buffers = ready.program->buffers;
    for (const InputBinding& input : ready.program->inputs)
      ready.input_bytes.push_back(byte_count(buffers[static_cast<std::size_t>(input.buffer)]));
    for (std::size_t i = 0; i < ready.program->checks.size(); ++i) {
      const Check& check = ready.program->checks[i];
      const auto at = static_cast<std::size_t>(check.buffer.index);
      if (check.buffer.space == BufferRef::Space::scalar) {
        ready.scalar_checks.push_back({i, at, weight_of(*ready.program, check)});
        continue;
      }
      ready.bounded.push_back({static_cast<const float*>(address(*ready.program, check.buffer)),
                               physical_count(buffers[at].shape), check.bound});
      ready.bounded_checks.push_back(i);
    }
    values.reserve(ready.program->terms.size());
    metrics.reserve(ready.program->metrics.size());
    shares.reserve(ready.program->metrics.size());
    ready.ready = true;
  }

  static bool fits(const Program& program, ProgramKind kind, std::int64_t rows) {
    if (program.kind != kind || rows < 1) return false;
    return kind == ProgramKind::train ? program.batch == rows : program.batch >= rows;
  }

  /// 0 where there is no such program.
  std::int64_t most_rows(ProgramKind kind) const {
    std::int64_t most = 0;
    for (const Program& program : plan->programs)
      if (program.kind == kind) most = std::max(most, program.batch);
    return most;
  }

  /// The smallest program that takes so many rows.
  ReadyProgram& choose(ProgramKind kind, std::int64_t rows) {
    ReadyProgram* best = nullptr;
    for (ReadyProgram& ready : programs)
      if (fits(*ready.program, kind, rows) && (!best || ready.program->batch < best->program->batch)) best = &ready;
    if (!best) refuse_rows(kind, rows);
    prepare(*best);
    return *best;
  }

  [[noreturn]] void refuse_rows(ProgramKind kind, std::int64_t rows) const {
    std::string sizes;
    for (const Program& program : plan->programs)
      if (program.kind == kind) sizes += (sizes.empty() ? "" : ", ") + std::to_string(program.batch);
    const std::string word(to_string(kind));
    if (sizes.empty()) throw Error(ErrorCode::failed_precondition, "the plan has no " + word + " program");
    throw Error(ErrorCode::invalid_argument, std::to_string(rows) + " rows: the plan can " + word +
                                                 (kind == ProgramKind::train ? " " : " 1 to ") + sizes +
                                                 " rows at a time");
  }

  // ---- feeding

  void feed_inputs(const ReadyProgram& ready, const Feed& feed, std::int64_t count, std::int64_t first) {
    const Program& program = *ready.program;
    check_feed(program, feed, count, first);
    for (std::size_t i = 0; i < program.inputs.size(); ++i) {
      const InputBinding& input = program.inputs[i];
      const std::size_t bytes = static_cast<std::size_t>(count * element_count(input.dims)) * 4;
      std::byte* target = arena.at(program.buffers[static_cast<std::size_t>(input.buffer)].offset);
      std::memcpy(target, feed.find(input.name)->second.data, bytes);
      std::memset(target + bytes, 0, ready.input_bytes[i] - bytes);
    }
  }

  // ---- scalars that change from step to step

  void find_weights() {
    for (const Program& program : plan->programs)
      for (const TermReport& term : program.terms)
        if (const auto at = static_cast<std::size_t>(term.settable()); term.weight >= 0 && !term.regularizer)
          if (std::find(weights.begin(), weights.end(), at) == weights.end()) weights.push_back(at);
  }

  /// Of the step that comes next. Also before an evaluation, which so has the weights of the current step.
  void set_scheduled() {
    for (std::size_t i = 0; i < scheduled.size(); ++i) {
      const ScheduledScalar& one = plan->schedules[i];
      if (!scheduled[i]) continue;
      const auto at = static_cast<std::size_t>(one.scalar);
      scalars[at] = given[at] = value_at(one.schedule, one.schedule.per_epoch ? epochs : steps);
    }
    double sum = 1;
    if (plan->normalized_weights) {
      sum = 0;
      for (std::size_t weight : weights) sum += given[weight];
    }
    for (std::size_t weight : weights) scalars[weight] = sum == 0 ? 0 : given[weight] / sum;
  }

  /// From now on the host's value holds.
  void take(std::size_t scalar, double value) {
    given[scalar] = scalars[scalar] = value;
    for (std::size_t i = 0; i < scheduled.size(); ++i)
      if (plan->schedules[i].scalar == static_cast<int>(scalar)) scheduled[i] = false;
  }

  // ---- running

  /// first: of the feed's rows among those that were given.
  void compute(ReadyProgram& ready, const Feed& feed, std::int64_t count, std::int64_t first = 0) {
    sliced = false;
    if (options.poison) {
      arena.poison();
      active = nullptr;
    }
    start_timing(*ready.program);
    if (active != &ready) {
      active = nullptr;
      ready.refresh.execute(times_from(0));
    }
    feed_inputs(ready, feed, count, first);
    set_scheduled();
    scalars[step] = static_cast<double>(steps + 1);
    scalars[rows] = static_cast<double>(count);
    active = &ready;
    last = ready.program;
    ready.compute.execute(times_from(ready.refresh.steps.size()));
  }

  /// Throws for the first of the program's checks that fails.
  void check(const ReadyProgram& ready) {
    std::size_t first = ready.program->checks.size();
    for (const ReadyProgram::ScalarCheck& one : ready.scalar_checks)
      if ((one.weight < 0 || scalars[static_cast<std::size_t>(one.weight)] != 0) &&
          !std::isfinite(scalars[one.scalar])) {
        first = one.check;
        break;
      }
    const std::size_t tensor = first_beyond(ready.bounded, plan->fingerprint.threads);
    if (tensor < ready.bounded.size()) first = std::min(first, ready.bounded_checks[tensor]);
    if (first == ready.program->checks.size()) return;
    const Check& failed = ready.program->checks[first];
    throw Error(ErrorCode::non_finite, failed.name + " is not finite" +
                                           (failed.bound > 0 ? " or too large to square" : "") + " at step " +
                                           std::to_string(steps + 1) + "; a smaller learning rate or weight may help");
  }

  void commit(ReadyProgram& ready) {
    ready.commit.execute(times_from(ready.refresh.steps.size() + ready.compute.steps.size()));
    ++steps;
    active = nullptr;  // parameters changed: every program's copies are stale
  }

  StepResult report(const Program& program) {
    values.clear();
    metrics.clear();
    shares.clear();
    double total = 0;
    for (const TermReport& term : program.terms) {
      TermValue value{term.name, scalars[static_cast<std::size_t>(term.value)]};
      value.weight = term.weight < 0 ? 0 : scalars[static_cast<std::size_t>(term.weight)];
      value.contribution = value.weight == 0 ? 0 : value.weight * value.value;
      value.empty = term.denominator >= 0 && scalars[static_cast<std::size_t>(term.denominator)] == 0;
      total += value.contribution;
      values.push_back(value);
    }
    for (const MetricReport& metric : program.metrics) {
      metrics.emplace_back(metric.name, scalars[static_cast<std::size_t>(metric.value)]);
      shares.push_back(scalars[metric.denominator < 0 ? rows : static_cast<std::size_t>(metric.denominator)]);
    }
    return {total, values, metrics, shares};
  }

  StepResult train(const Feed& feed, bool update) {
    const std::int64_t count = row_count(plan->inputs, feed);
    ReadyProgram& ready = choose(ProgramKind::train, count);
    compute(ready, feed, count);
    check(ready);
    if (update) commit(ready);
    return report(*ready.program);
  }

  Tensor read(const Program& program, const OutputBinding& binding, const Dims& dims) {
    const Buffer& from = program.buffers[static_cast<std::size_t>(binding.buffer)];
    Tensor tensor(from.dtype == DType::i32 ? DType::i32 : DType::f32, dims);
    unpack(from.shape, arena.at(from.offset), tensor.bytes.data());
    return tensor;
  }

  std::shared_ptr<const Plan> plan;
  SessionOptions options;
  Arena store, arena;
  std::vector<double> scalars;
  std::vector<double> given;         ///< by scalar: as the host or a schedule set it; weights before they are divided
  std::vector<bool> scheduled;       ///< by entry of Plan::schedules: not overridden by the host
  std::vector<std::size_t> weights;  ///< scalars that are weights of terms
  std::vector<ReadyProgram> programs;
  ReadyProgram* active = nullptr;  ///< whose weight copies are fresh in the arena
  const Program* last = nullptr;   ///< whose values the arena holds
  bool sliced = false;             ///< the arena holds the last of several slices
  std::uint64_t steps = 0, epochs = 0;
  std::size_t step = 0, rows = 0, rate = 0;
  std::vector<TermValue> values;
  std::vector<std::pair<std::string_view, double>> metrics;
  std::vector<double> shares;
  bool timing = false;
  std::vector<double> times;  ///< of the steps of the program that ran last
};

Session::Session(std::shared_ptr<const Plan> plan, SessionOptions options) {
  if (!plan) throw Error(ErrorCode::invalid_argument, "a session needs a plan");
  validate_plan(*plan);
  check_fingerprint(*plan);
  state_ = std::make_unique<State>(std::move(plan), options);
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Plan& Session::plan() const { return *state_->plan; }
std::shared_ptr<const Plan> Session::shared_plan() const { return state_->plan; }

StepResult Session::train_step(const Feed& feed) { return state_->train(feed, true); }
StepResult Session::gradient_step(const Feed& feed) { return state_->train(feed, false); }

StepResult Session::evaluate(const Feed& feed) {
  const std::int64_t count = row_count(state_->plan->inputs, feed);
  ReadyProgram& ready = state_->choose(ProgramKind::evaluate, count);
  state_->compute(ready, feed, count);
  return state_->report(*ready.program);
}

std::map<std::string, Tensor> Session::predict(const Feed& feed) {
  State& state = *state_;
  const std::int64_t count = row_count(state.plan->inputs, feed), most = state.most_rows(ProgramKind::predict);
  if (most > 0 && most < count) check_feed_shapes(*state.choose(ProgramKind::predict, most).program, feed, count);
  std::map<std::string, Tensor> outputs;
  for (std::int64_t first = 0; first == 0 || first < count; first += most) {
    const std::int64_t rows = most == 0 ? count : std::min(most, count - first);
    ReadyProgram& ready = state.choose(ProgramKind::predict, rows);
    state.compute(ready, rows == count ? feed : slice_feed(feed, first, rows), rows, first);
    for (const OutputBinding& binding : ready.program->outputs) {
      Tensor values = output(binding.name);
      const auto [place, is_first] = outputs.try_emplace(binding.name);
      if (is_first) {
        place->second = std::move(values);
        continue;
      }
      Tensor& all = place->second;
      all.bytes.insert(all.bytes.end(), values.bytes.begin(), values.bytes.end());
      all.dims.front() += rows;
    }
  }
  state.sliced = most < count;
  return outputs;
}

Tensor Session::output(std::string_view node) const {
  State& state = *state_;
  if (!state.last) throw Error(ErrorCode::failed_precondition, "no program ran yet");
  if (state.sliced)
    throw Error(ErrorCode::failed_precondition, "the prediction ran in slices of " + std::to_string(state.last->batch) +
                                                    " rows: its values are what it returned");
  for (const OutputBinding& binding : state.last->outputs) {
    if (binding.name != node) continue;
    Dims dims = binding.dims;
    dims.insert(dims.begin(), state.last->batch);
    Tensor full = state.read(*state.last, binding, dims);
    const auto count = static_cast<std::int64_t>(state.scalars[state.rows]);
    full.bytes.resize(full.bytes.size() / static_cast<std::size_t>(state.last->batch) *
                      static_cast<std::size_t>(count));
    full.dims.front() = count;
    return full;
  }
  throw Error(ErrorCode::not_found, "the program that ran last has no tap at \"" + std::string(node) + "\"");
}

Tensor Session::parameter(std::string_view name) const {
  const Parameter& parameter = state_->find(name);
  const Buffer& from = state_->buffer(parameter);
  Tensor tensor(DType::f32, parameter.dims);
  unpack(from.shape, state_->store.at(from.offset), tensor.bytes.data());
  return tensor;
}

void Session::set_parameter(std::string_view name, const TensorView& value) {
  const Parameter& parameter = state_->find(name);
  if (value.dtype != DType::f32 || value.dims != parameter.dims)
    bad_data("parameter \"" + parameter.name + "\" is f32" + to_string(parameter.dims) + ", got " +
             std::string(to_string(value.dtype)) + to_string(value.dims));
  const Buffer& to = state_->buffer(parameter);
  pack(to.shape, value.data, state_->store.at(to.offset));
  state_->active = nullptr;
}

Tensor Session::gradient(std::string_view name) const {
  State& state = *state_;
  if (!state.last || state.last->kind != ProgramKind::train)
    throw Error(ErrorCode::failed_precondition, "gradients are there after a training or gradient step");
  for (const OutputBinding& binding : state.last->gradients)
    if (binding.name == name) return state.read(*state.last, binding, binding.dims);
  state.find(name);
  throw Error(ErrorCode::not_found,
              "no trained term reaches parameter \"" + std::string(name) + "\", so it has no gradient");
}

void Session::set_weight(std::string_view term, double weight) {
  if (!std::isfinite(weight) || weight < 0)
    throw Error(ErrorCode::invalid_argument, "the weight of a term is a finite number of at least 0");
  for (const Program& program : state_->plan->programs)
    for (const TermReport& report : program.terms)
      if (report.name == term && report.weight >= 0) {
        state_->take(static_cast<std::size_t>(report.settable()), weight);
        return;
      }
  throw Error(ErrorCode::invalid_argument,
              "no trained term is named \"" + std::string(term) +
                  "\": excluded terms and constant weights of 0 are structural; compile with another specification");
}

void Session::set_learning_rate(double rate) {
  if (!(rate >= 0 && rate <= 1e9))
    throw Error(ErrorCode::invalid_argument, "the learning rate is a number from 0 to 1e9");
  state_->scalars[state_->rate] = rate;
}

double Session::learning_rate() const { return state_->scalars[state_->rate]; }
std::uint64_t Session::steps() const { return state_->steps; }
void Session::set_steps(std::uint64_t done) { state_->steps = done; }
std::uint64_t Session::epochs() const { return state_->epochs; }
void Session::set_epochs(std::uint64_t completed) { state_->epochs = completed; }

void Session::set_timing(bool on) { state_->timing = on; }
std::span<const double> Session::step_seconds() const { return state_->times; }

void Session::save_weights(const std::filesystem::path& path) const {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, TensorView> views;
  for (const Parameter& entry : state_->plan->parameters)
    views.emplace(entry.name, tensors.emplace(entry.name, parameter(entry.name)).first->second);
  write_safetensors(path, views);
}

std::vector<std::string> Session::load_weights(const std::map<std::string, Tensor>& weights, bool partial) {
  std::string misfits;
  std::vector<std::string> kept;
  for (const auto& [name, tensor] : weights) {
    const std::string& wanted = name;  // a structured binding may not be captured
    const auto& parameters = state_->plan->parameters;
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& entry) { return entry.name == wanted; });
    if (found == parameters.end())
      misfits += "\n  " + name + " is no parameter of the model";
    else if (found->dims != tensor.dims || tensor.dtype != DType::f32)
      misfits += "\n  " + name + " is " + std::string(to_string(tensor.dtype)) + to_string(tensor.dims) +
                 ", the model needs f32" + to_string(found->dims);
  }
  for (const Parameter& entry : state_->plan->parameters)
    if (!weights.contains(entry.name)) kept.push_back(entry.name);
  if (!partial)
    for (const std::string& name : kept) misfits += "\n  " + name + " is missing";
  if (!misfits.empty())
    bad_data("the weights do not fit the model:" + misfits +
             (kept.empty() || partial ? "" : "\n--partial keeps initial values for missing ones"));
  for (const auto& [name, tensor] : weights) set_parameter(name, tensor);
  return kept;
}

}  // namespace weir
