#include "compiler/verify.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "compiler/compile.hpp"
#include "compiler/computed_loss.hpp"
#include "compiler/gradient_agreement.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"
#include "runtime/random.hpp"
#include "runtime/session.hpp"

namespace weir {
namespace {

class Verification {
 public:
  Verification(const VerifySubjects& subjects, const VerifyOptions& options)
      : subjects_(subjects), options_(options), batch_(make_up_batch(subjects)) {
    report_ = {.model = subjects.model, .seed = subjects.seed, .batch = subjects.batch, .total = {.name = "total"}};
  }

  VerifyReport run() {
    compute_losses();
    LossProbe probe(compute_reference(subjects_, training(), batch_), subjects_.batch);
    find_reach(probe);
    check_parameters(probe);
    check_untouched();
    return std::move(report_);
  }

 private:
  const TrainingGraph& training() const { return subjects_.whole.training; }
  const Graph& graph() const { return training().graph; }

  void progress(double done, const std::string& what) const {
    if (options_.progress) options_.progress(done, what);
  }

  // ---- every loss by every means

  void compute_losses() {
    const double parts = static_cast<double>(subjects_.terms.size() + 1);
    progress(0, "the whole loss");
    losses_.push_back(compute_loss(subjects_, subjects_.whole, batch_));
    for (const LossTerm& term : training().terms)
      if (term.role != TermRole::trained) report_.not_trained.push_back(term.name);
    for (const auto& [name, subject] : subjects_.terms) {
      progress(share_of_losses * static_cast<double>(losses_.size()) / parts, "term " + name);
      add_term(name, subject);
    }
  }

  void add_term(const std::string& name, const VerifySubject& subject) {
    const auto is_it = [&](const LossTerm& term) { return term.name == name; };
    const auto term = std::find_if(training().terms.begin(), training().terms.end(), is_it);
    losses_.push_back(compute_loss(subjects_, subject, batch_));
    const auto index = static_cast<std::size_t>(term - training().terms.begin());
    losses_.back().weight = losses_.front().term_weights[index];
    losses_.back().term_weights.assign(training().terms.size(), 0);
    losses_.back().term_weights[index] = 1;
    report_.terms.push_back({.name = name, .weight = losses_.back().weight});
  }

  // ---- who must have a gradient

  LossCheck& report_of(std::size_t loss) { return loss == 0 ? report_.total : report_.terms[loss - 1]; }

  void find_reach(LossProbe& probe) {
    std::vector<std::set<std::string>> reached(losses_.size());
    for (ValueId id = 0; id < static_cast<ValueId>(graph().values.size()); ++id) {
      if (graph().at(id).kind != ValueKind::parameter) continue;
      const std::vector<bool> terms = probe.reached_terms(id);
      for (std::size_t loss = 0; loss < losses_.size(); ++loss)
        for (std::size_t term = 0; term < terms.size(); ++term)
          if (terms[term] && (loss == 0 || losses_[loss].term_weights[term] != 0))
            reached[loss].insert(graph().at(id).name);
    }
    for (std::size_t loss = 0; loss < losses_.size(); ++loss) compare_reach(loss, reached[loss]);
    reached_ = std::move(reached.front());
  }

  void compare_reach(std::size_t loss, const std::set<std::string>& reached) {
    std::set<std::string> differentiated, compiled(losses_[loss].compiled.begin(), losses_[loss].compiled.end());
    for (const auto& [name, gradient] : losses_[loss].gradients) differentiated.insert(name);
    for (const auto& [what, names] : {std::pair("the graph", &differentiated), std::pair("the plan", &compiled)}) {
      for (const std::string& name : reached)
        if (!names->contains(name))
          report_of(loss).problems.push_back(fmt::format("{} moves it, but {} has no gradient of it", name, what));
      for (const std::string& name : *names)
        if (!reached.contains(name))
          report_of(loss).problems.push_back(
              fmt::format("{} must not move with it, but {} has a gradient of it", name, what));
    }
    std::erase_if(losses_[loss].gradients,
                  [&](const auto& entry) { return !reached.contains(entry.first) || entry.second.compiled.empty(); });
    for (auto& [name, gradient] : losses_[loss].gradients) gradient.weights = losses_[loss].term_weights;
  }

  // ---- entry by entry

  void check_parameters(LossProbe& probe) {
    std::size_t done = 0;
    for (const std::string& name : names_in_order()) {
      progress(
          share_of_losses + (1 - share_of_losses) * static_cast<double>(done++) / static_cast<double>(reached_.size()),
          name);
      check_parameter(probe, name);
    }
  }

  std::vector<std::string> names_in_order() const {
    std::vector<std::string> names;
    for (const Value& value : graph().values)
      if (value.kind == ValueKind::parameter && reached_.contains(value.name)) names.push_back(value.name);
    return names;
  }

  void check_parameter(LossProbe& probe, const std::string& name) {
    const ValueId id = graph().find(name);
    Differences differences(probe, id);
    const std::vector<std::int64_t> entries = sample(name);
    std::set<std::int64_t> left_out;
    for (std::size_t loss = 0; loss < losses_.size(); ++loss) {
      const auto found = losses_[loss].gradients.find(name);
      if (found == losses_[loss].gradients.end()) continue;
      std::vector<std::int64_t> at_kinks;
      report_of(loss).parameters.push_back(check_gradient(name, graph().at(id).type.dims, found->second, differences,
                                                          entries, options_.samples, at_kinks));
      left_out.insert(at_kinks.begin(), at_kinks.end());
    }
    check_sum(name, left_out);
  }

  /// Half of them the largest, of the losses in turn; the others at random.
  std::vector<std::int64_t> sample(const std::string& name) const {
    const std::int64_t entries = element_count(graph().at(graph().find(name)).type.dims);
    std::vector<std::int64_t> chosen(static_cast<std::size_t>(entries));
    std::iota(chosen.begin(), chosen.end(), 0);
    if (entries <= options_.samples) return chosen;
    chosen.clear();
    const auto add = [&](std::int64_t entry) {
      if (std::find(chosen.begin(), chosen.end(), entry) == chosen.end()) chosen.push_back(entry);
    };
    const std::vector<std::vector<std::int64_t>> largest = largest_entries(name, (options_.samples + 1) / 2);
    for (std::size_t rank = 0; static_cast<std::int64_t>(chosen.size()) < (options_.samples + 1) / 2; ++rank) {
      bool any = false;
      for (const auto& of_loss : largest)
        if (rank < of_loss.size()) any = true, add(of_loss[rank]);
      if (!any) break;
    }
    const std::uint64_t key = random_key(subjects_.seed, "sample " + name);
    for (std::uint64_t draw = 0; static_cast<std::int64_t>(chosen.size()) < options_.samples; ++draw)
      add(static_cast<std::int64_t>(static_cast<double>(uniform(key, 0, draw)) * static_cast<double>(entries)));
    return chosen;
  }

  std::vector<std::vector<std::int64_t>> largest_entries(const std::string& name, std::int64_t count) const {
    std::vector<std::vector<std::int64_t>> lists;
    for (const ComputedLoss& loss : losses_) {
      const auto found = loss.gradients.find(name);
      if (found == loss.gradients.end()) continue;
      const std::vector<double>& values = found->second.reference;
      std::vector<std::int64_t>& list = lists.emplace_back(values.size());
      std::iota(list.begin(), list.end(), 0);
      const auto size = [&](std::int64_t entry) { return std::abs(values[static_cast<std::size_t>(entry)]); };
      std::partial_sort(list.begin(), list.begin() + count, list.end(),
                        [&](std::int64_t a, std::int64_t b) { return size(a) > size(b); });
      list.resize(static_cast<std::size_t>(count));
    }
    return lists;
  }

  /// Over the terms' magnitudes, because their sum may cancel.
  void check_sum(const std::string& name, const std::set<std::int64_t>& left_out) {
    const auto whole = losses_.front().gradients.find(name);
    if (whole == losses_.front().gradients.end()) return;
    std::vector<double> compiled = whole->second.compiled, reference = whole->second.reference;
    double scale = whole->second.scale(), largest = whole->second.largest;
    for (std::size_t loss = 1; loss < losses_.size(); ++loss) {
      const auto part = losses_[loss].gradients.find(name);
      if (part == losses_[loss].gradients.end()) continue;
      const double weight = losses_[loss].weight;
      for (std::size_t i = 0; i < compiled.size(); ++i) {
        compiled[i] -= weight * part->second.compiled[i];
        reference[i] -= weight * part->second.reference[i];
      }
      scale = std::max(scale, weight * part->second.scale());
      largest = std::max(largest, weight * part->second.largest);
    }
    for (std::size_t i = 0; i < compiled.size(); ++i)
      if (!left_out.contains(static_cast<std::int64_t>(i)))
        take_into_sum(name, compiled[i], scale, reference[i], largest);
  }

  void take_into_sum(const std::string& name, double compiled, double scale, double reference, double largest) {
    const double rounded = relative_error(compiled, scale), exact = relative_error(reference, largest);
    report_.sum.compiled = std::max(report_.sum.compiled, rounded);
    report_.sum.reference = std::max(report_.sum.reference, exact);
    if (rounded <= compiled_tolerance && exact <= sum_tolerance) return;
    if (report_.sum.problem.empty())
      report_.sum.problem = fmt::format(
          "{}: the gradients of the terms, times their weights, do not add up to the "
          "whole: {:.3g} compiled, {:.3g} in the reference are left over",
          name, compiled, reference);
  }

  // ---- what training must leave alone

  void check_untouched() {
    Session session = open_session(subjects_, subjects_.whole, batch_);
    session.set_learning_rate(1e-3);  // the specification's may be 0, and then nothing would move
    do_step(session, batch_, true);
    do_step(session, batch_, true);
    const std::set<ValueId> behind = behind_trained_terms();
    for (const Value& value : graph().values) {
      const std::string reason = reason_to_stay(value, behind);
      if (!reason.empty())
        report_.untouched.push_back(
            {value.name, reason, session.parameter(value.name).bytes == batch_.parameters.at(value.name).bytes});
    }
  }

  std::string reason_to_stay(const Value& value, const std::set<ValueId>& behind) const {
    if (value.kind == ValueKind::parameter && !value.trainable) return "frozen";
    if (value.kind == ValueKind::parameter && !reached_.contains(value.name)) return "reached by no trained term";
    if (value.kind != ValueKind::statistic) return "";
    const bool moves = std::any_of(value.follows.begin(), value.follows.end(),
                                   [&](ValueId followed) { return behind.contains(followed); });
    return moves ? "" : "followed by no trained term";
  }

  /// Results of the nodes that trained terms need.
  std::set<ValueId> behind_trained_terms() const {
    std::set<ValueId> behind;
    std::vector<ValueId> open;
    for (const LossTerm& term : training().terms)
      if (term.role == TermRole::trained) open.push_back(term.value);
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (id == none || graph().at(id).producer == none) continue;
      const Node& node = graph().node(graph().at(id).producer);
      if (!behind.insert(id).second) continue;
      behind.insert(node.results.begin(), node.results.end());
      open.insert(open.end(), node.operands.begin(), node.operands.end());
    }
    return behind;
  }

  static constexpr double share_of_losses = 0.2;  ///< of the time, roughly

  const VerifySubjects& subjects_;
  const VerifyOptions& options_;
  MadeUpBatch batch_;
  std::vector<ComputedLoss> losses_;  ///< the whole, then the terms
  std::set<std::string> reached_;     ///< by the whole
  VerifyReport report_;
};

VerifySubject prepare(std::string_view text, const VerifyOptions& options, const Spec& spec,
                      const std::string& only_term, Diagnostics& diagnostics) {
  VerifySubject subject;
  const Compiled compiled = compile(text, {.name = options.name,
                                           .threads = options.threads,
                                           .batch_sizes = {options.batch},
                                           .evaluate = false,
                                           .predict = false,
                                           .exclude = options.exclude,
                                           .set = options.set,
                                           .only_term = only_term});
  diagnostics = compiled.diagnostics;
  if (!compiled.plan) return subject;
  subject.plan = compiled.plan;
  Diagnostics ignored;  // the same as compile found
  Graph graph = build_graph(spec, Mode::training, ignored);
  subject.training = prune(differentiate(attach_losses(spec, std::move(graph), ignored, only_term)));
  return subject;
}

}  // namespace

std::vector<std::string> VerifyReport::problems() const {
  std::vector<std::string> list;
  const auto collect = [&](const LossCheck& loss, const std::string& name) {
    for (const std::string& problem : loss.problems) list.push_back(fmt::format("{}: {}", name, problem));
    for (const GradientCheck& check : loss.parameters)
      if (!check.problem.empty())
        list.push_back(fmt::format("{}, parameter {}: {}", name, check.parameter, check.problem));
  };
  for (const LossCheck& term : terms) collect(term, "term " + term.name);
  collect(total, "total");
  if (!sum.problem.empty()) list.push_back("sum of the terms, parameter " + sum.problem);
  for (const UntouchedCheck& check : untouched)
    if (!check.holds) list.push_back(fmt::format("{} is {}, but a training step changed it", check.name, check.reason));
  return list;
}

VerifySubjects prepare_verify(std::string_view text, const VerifyOptions& options, Diagnostics& diagnostics) {
  const Spec spec = parse_spec(text, options.name, diagnostics, {options.set, options.exclude});
  if (diagnostics.has_errors()) return {};
  if (!spec.loss || !spec.train)
    throw Error(ErrorCode::invalid_spec, options.name + " has no loss and train sections, so there are no gradients");
  VerifySubjects subjects{spec.name, options.seed.value_or(spec.train->seed), options.batch, {}, {}};
  subjects.whole = prepare(text, options, spec, "", diagnostics);
  if (diagnostics.has_errors()) return subjects;
  for (const LossTerm& term : subjects.whole.training.terms) {
    if (term.role != TermRole::trained) continue;
    Diagnostics alone;
    subjects.terms.emplace_back(term.name, prepare(text, options, spec, term.name, alone));
    WEIR_CHECK(!alone.has_errors(), "term " + term.name + " compiles in the whole and not alone");
  }
  return subjects;
}

VerifyReport verify_gradients(const VerifySubjects& subjects, const VerifyOptions& options) {
  if (options.samples < 1) throw Error(ErrorCode::invalid_argument, "verify needs at least 1 sample of each parameter");
  return Verification(subjects, options).run();
}

}  // namespace weir
