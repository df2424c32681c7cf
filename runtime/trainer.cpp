#include "runtime/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/data/batches.hpp"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

bool asked_to_stop(const std::atomic<int>* stop) { return stop && stop->load(std::memory_order_relaxed) != 0; }

BatchOptions batch_options(const TrainingSettings& settings) {
  return {settings.batch_size, settings.shuffle, settings.drop_remainder, settings.seed};
}

/// Each size that will be stepped has its program, or the run does not begin.
void check_programs(const Plan& plan, std::int64_t samples, const TrainerOptions& options) {
  for (std::int64_t size : stepped_batch_sizes(samples, options.settings, options.steps)) {
    if (plan.find(ProgramKind::train, size)) continue;
    std::vector<std::int64_t> present;
    for (const Program& program : plan.programs)
      if (program.kind == ProgramKind::train) present.push_back(program.batch);
    if (present.empty())
      throw Error(ErrorCode::invalid_argument,
                  "this plan cannot train: it was compiled from a specification without loss or train");
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("{} samples in batches of {} need a train program for {} rows, but the plan has them for {}; "
                    "compile it with --batch-size {},{}, or set train.drop_remainder",
                    samples, options.settings.batch_size, size, fmt::join(present, ", "), options.settings.batch_size,
                    size));
  }
}

/// One run: the state that its epochs share.
class Run {
 public:
  Run(Session& session, const Dataset& set, const Dataset* validation, const TrainerOptions& options)
      : session_(session),
        validation_(validation),
        options_(options),
        batches_(set.samples(), batch_options(options.settings)),
        feed_(set, *largest_program(session.plan(), ProgramKind::train)) {}

  TrainingOutcome run() {
    for (std::int64_t epoch = 1; epoch <= options_.settings.epochs && !ended_; ++epoch) run_epoch(epoch);
    outcome_.steps = session_.steps();
    return std::move(outcome_);
  }

 private:
  void run_epoch(std::int64_t epoch) {
    batches_.begin_epoch(static_cast<std::uint64_t>(epoch));
    session_.set_epochs(static_cast<std::uint64_t>(epoch - 1));
    EpochSum sum;
    const auto start = Clock::now();
    std::int64_t batch = 0;
    for (; batch < batches_.count() && !ended_; ++batch) step(epoch, batch, sum);
    const double seconds = seconds_since(start);
    if (batch == batches_.count()) session_.set_epochs(static_cast<std::uint64_t>(epoch));
    if (outcome_.end != TrainingEnd::stopped) report(epoch, sum.mean(), seconds);
  }

  void step(std::int64_t epoch, std::int64_t batch, EpochSum& sum) {
    const auto rows = batches_.batch(batch);
    const double rate = session_.learning_rate();
    const Feed& feed = feed_.gather(rows);
    if (options_.before_step) options_.before_step(session_.steps() + 1, feed);
    const StepResult result = session_.train_step(feed);
    const auto samples = static_cast<std::int64_t>(rows.size());
    sum.add(result, samples);
    if (options_.on_step)
      options_.on_step({epoch, session_.steps(), batch + 1, batches_.count(), samples, rate, result});
    if (++done_ == options_.steps) end(TrainingEnd::steps);
    if (asked_to_stop(options_.stop)) end(TrainingEnd::stopped);
  }

  void report(std::int64_t epoch, EpochValues values, double seconds) {
    std::optional<EpochValues> validation;
    if (validation_) validation = evaluate(session_, *validation_, options_.stop);
    if (asked_to_stop(options_.stop)) return end(TrainingEnd::stopped);
    outcome_.train = std::move(values);
    outcome_.validation = std::move(validation);
    if (!options_.on_epoch) return;
    const EpochValues* validated = outcome_.validation ? &*outcome_.validation : nullptr;
    options_.on_epoch({epoch, session_.steps(), *outcome_.train, validated, seconds});
  }

  void end(TrainingEnd reason) {
    ended_ = true;
    outcome_.end = reason;
  }

  Session& session_;
  const Dataset* validation_;
  const TrainerOptions& options_;
  Batches batches_;
  BatchFeed feed_;
  std::uint64_t done_ = 0;
  bool ended_ = false;
  TrainingOutcome outcome_;
};

}  // namespace

void EpochSum::add(const StepResult& result, std::int64_t samples) {
  if (sum_.samples == 0) {
    for (const TermValue& term : result.terms) sum_.terms.push_back({std::string(term.name), 0, 0, 0, 0});
    shares_.assign(result.metrics.size(), 0);
    for (const auto& metric : result.metrics) sum_.metrics.emplace_back(metric.first, 0);
  }
  WEIR_CHECK(sum_.terms.size() == result.terms.size() && sum_.metrics.size() == result.metrics.size(),
             "an epoch's batches report different terms");
  const auto n = static_cast<double>(samples);
  sum_.samples += samples;
  ++sum_.batches;
  sum_.total += n * result.total;
  for (std::size_t i = 0; i < sum_.terms.size(); ++i) {
    sum_.terms[i].value += n * result.terms[i].value;
    sum_.terms[i].weight += n * result.terms[i].weight;
    sum_.terms[i].contribution += n * result.terms[i].contribution;
    sum_.terms[i].empty += result.terms[i].empty ? 1 : 0;
  }
  for (std::size_t i = 0; i < sum_.metrics.size(); ++i) {
    const double share = i < result.metric_shares.size() ? result.metric_shares[i] : n;
    sum_.metrics[i].second += share * result.metrics[i].second;
    shares_[i] += share;
  }
}

EpochValues EpochSum::mean() const {
  EpochValues mean = sum_;
  if (mean.samples == 0) return mean;
  const auto n = static_cast<double>(mean.samples);
  mean.total /= n;
  for (EpochTerm& term : mean.terms) {
    term.value /= n;
    term.weight /= n;
    term.contribution /= n;
  }
  for (std::size_t i = 0; i < mean.metrics.size(); ++i)
    if (shares_[i] != 0) mean.metrics[i].second /= shares_[i];
  return mean;
}

BatchFeed::BatchFeed(const Dataset& set, const Program& program) : set_(&set) {
  for (const InputBinding& input : program.inputs) {
    if (!set.has(input.name))
      throw Error(ErrorCode::not_found, fmt::format("input \"{}\" has no data, and the {} program reads it", input.name,
                                                    to_string(program.kind)));
    const std::size_t row_bytes = static_cast<std::size_t>(element_count(input.dims)) * size_of(input.dtype);
    std::vector<std::byte> bytes(row_bytes * static_cast<std::size_t>(program.batch));
    columns_.push_back({input.name, input.dtype, input.dims, std::move(bytes), row_bytes});
  }
  for (const Column& column : columns_) {
    Dims dims{0};
    dims.insert(dims.end(), column.dims.begin(), column.dims.end());
    feed_[column.name] = TensorView(column.bytes.data(), column.dtype, std::move(dims));
  }
}

const Feed& BatchFeed::gather(std::span<const std::uint32_t> rows) {
  for (Column& column : columns_) {
    WEIR_CHECK(rows.size() * column.row_bytes <= column.bytes.size(), "a batch larger than the program's");
    set_->gather(rows, column.name, column.bytes.data());
    feed_.find(column.name)->second.dims[0] = static_cast<std::int64_t>(rows.size());
  }
  return feed_;
}

const Program* largest_program(const Plan& plan, ProgramKind kind) {
  const Program* largest = nullptr;
  for (const Program& program : plan.programs)
    if (program.kind == kind && (!largest || program.batch > largest->batch)) largest = &program;
  return largest;
}

std::vector<std::int64_t> stepped_batch_sizes(std::int64_t samples, const TrainingSettings& settings,
                                              std::uint64_t steps) {
  const std::int64_t full = samples / settings.batch_size, rest = samples % settings.batch_size;
  std::vector<std::int64_t> sizes;
  if (full > 0) sizes.push_back(settings.batch_size);
  const bool reached = steps == 0 || steps > static_cast<std::uint64_t>(full);
  if (rest > 0 && reached && !settings.drop_remainder) sizes.push_back(rest);
  return sizes;
}

TrainingOutcome train(Session& session, const Dataset& set, const Dataset* validation, const TrainerOptions& options) {
  const Plan& plan = session.plan();
  check_programs(plan, set.samples(), options);
  if (!largest_program(plan, ProgramKind::train))
    throw Error(ErrorCode::invalid_data,
                fmt::format("drop_remainder leaves no batch: {} samples are fewer than batch_size {}", set.samples(),
                            options.settings.batch_size));
  return Run(session, set, validation, options).run();
}

EpochValues evaluate(Session& session, const Dataset& set, const std::atomic<int>* stop) {
  const Program* program = largest_program(session.plan(), ProgramKind::evaluate);
  if (!program)
    throw Error(ErrorCode::invalid_argument,
                "this plan cannot evaluate: its specification has neither a loss nor a metric");
  BatchFeed feed(set, *program);
  const Batches batches(set.samples(), {program->batch, false, false, 0});
  EpochSum sum;
  for (std::int64_t batch = 0; batch < batches.count(); ++batch) {
    if (asked_to_stop(stop)) return {};
    const auto rows = batches.batch(batch);
    sum.add(session.evaluate(feed.gather(rows)), static_cast<std::int64_t>(rows.size()));
  }
  return sum.mean();
}

}  // namespace weir
