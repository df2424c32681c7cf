#include "compiler/cli/gradient_norms.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "runtime/trainer.hpp"

namespace weir::cli {
namespace {

using Gradients = std::map<std::string, Tensor>;

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i)
    sum += static_cast<double>(a.data<float>()[i]) * static_cast<double>(b.data<float>()[i]);
  return sum;
}

/// A parameter that one of them does not reach counts as zero there.
double dot(const Gradients& a, const Gradients& b) {
  double sum = 0;
  for (const auto& [name, gradient] : a)
    if (const auto other = b.find(name); other != b.end()) sum += dot(gradient, other->second);
  return sum;
}

Json norms_by_layer(const Gradients& gradients, double weight) {
  std::map<std::string, double> squares;
  for (const auto& [name, gradient] : gradients) squares[name.substr(0, name.rfind('.'))] += dot(gradient, gradient);
  Json json = Json::object();
  for (const auto& [layer, square] : squares) json[layer] = json_number(weight * std::sqrt(square));
  return json;
}

double weight_of(std::span<const TermValue> terms, const std::string& name) {
  const auto found = std::find_if(terms.begin(), terms.end(), [&](const TermValue& each) { return each.name == name; });
  return found == terms.end() ? 0 : found->weight;
}

}  // namespace

GradientNorms::GradientNorms(std::vector<TermPlan> plans, std::uint64_t seed) {
  for (TermPlan& each : plans)
    terms_.push_back(
        {.name = each.term, .session = Session(std::move(each.plan), {.seed = seed, .initialize = false})});
}

void GradientNorms::measure(Term& term, const Session& session, const Feed& feed) {
  for (const Parameter& parameter : term.session.plan().parameters)
    term.session.set_parameter(parameter.name, session.parameter(parameter.name));
  term.session.set_steps(session.steps());
  term.gradients.clear();
  term.finite = false;
  try {
    term.session.gradient_step(feed);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::non_finite) throw;
    return;  // the training step will say so itself
  }
  term.finite = true;
  for (const OutputBinding& binding : largest_program(term.session.plan(), ProgramKind::train)->gradients)
    term.gradients.emplace(binding.name, term.session.gradient(binding.name));
}

void GradientNorms::measure(const Session& session, const Feed& feed) {
  for (Term& term : terms_) measure(term, session, feed);
}

void GradientNorms::add_to(Json& line, std::span<const TermValue> terms) {
  Json& norms = line["gradient_norms"] = Json::object();
  Json& cosines = line["gradient_cosines"] = Json::object();
  ++added_;
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    Term& a = terms_[i];
    const double weight = weight_of(terms, a.name);
    norms[a.name] = a.finite ? norms_by_layer(a.gradients, weight) : Json();
    a.sum += weight * std::sqrt(dot(a.gradients, a.gradients));
    for (std::size_t j = i + 1; j < terms_.size(); ++j) {
      const Term& b = terms_[j];
      const std::string pair = a.name + "," + b.name;
      const double cosine =
          dot(a.gradients, b.gradients) / std::sqrt(dot(a.gradients, a.gradients) * dot(b.gradients, b.gradients));
      cosines[pair] = json_number(cosine);
      if (!std::isfinite(cosine)) continue;
      cosines_[pair].sum += cosine;
      ++cosines_[pair].count;
    }
  }
}

std::string GradientNorms::epoch_text() {
  if (added_ == 0) return "";
  std::string text = fmt::format("  mean gradient norms over {} steps:", added_);
  for (Term& term : terms_) {
    text += fmt::format(" {} {}", term.name, number_text(term.sum / static_cast<double>(added_)));
    term.sum = 0;
  }
  for (const auto& [pair, all] : cosines_)
    text += fmt::format("; cosine {} {}", pair, number_text(all.sum / static_cast<double>(all.count)));
  cosines_.clear();
  added_ = 0;
  return text + '\n';
}

}  // namespace weir::cli
