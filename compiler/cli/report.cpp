#include "compiler/cli/report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace weir::cli {
namespace {

Json loss_json(double total, const auto& terms) {
  Json loss;
  loss["total"] = json_number(total);
  for (const auto& term : terms) loss[std::string(term.name)] = json_number(term.value);
  return loss;
}

std::string share_text(double contribution, double total) {
  const double share = contribution / total;
  return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "-";
}

bool reports(const EpochValues& values, const std::string& term) {
  return std::any_of(values.terms.begin(), values.terms.end(),
                     [&](const EpochTerm& each) { return each.name == term; });
}

}  // namespace

Json step_json(const StepEvent& event) {
  Json json{{"event", "step"},
            {"epoch", event.epoch},
            {"step", event.step},
            {"learning_rate", json_number(event.learning_rate)}};
  json["loss"] = loss_json(event.result.total, event.result.terms);
  json["weight"] = Json::object();
  for (const TermValue& term : event.result.terms) json["weight"][std::string(term.name)] = json_number(term.weight);
  for (const TermValue& term : event.result.terms)
    if (term.empty) json["empty"][std::string(term.name)] = 1;
  return json;
}

Json values_json(const EpochValues& values) {
  Json json;
  json["loss"] = loss_json(values.total, values.terms);
  json["contribution"] = Json::object();
  for (const EpochTerm& term : values.terms) json["contribution"][term.name] = json_number(term.contribution);
  for (const EpochTerm& term : values.terms)
    if (term.empty > 0) json["empty"][term.name] = term.empty;
  for (const auto& [name, value] : values.metrics) json[name] = json_number(value);
  return json;
}

Json epoch_json(const EpochEvent& event) {
  Json json{{"event", "epoch"}, {"epoch", event.epoch}, {"train", values_json(event.train)}};
  if (event.validation) json["validation"] = values_json(*event.validation);
  json["seconds"] = json_number(event.seconds);
  json["samples_per_second"] = json_number(std::round(static_cast<double>(event.train.samples) / event.seconds));
  return json;
}

std::string sum_text(double total, std::span<const TermValue> terms) {
  std::string kept, watched;
  for (const TermValue& term : terms) {
    if (term.weight == 0) {
      watched += fmt::format("{}{} {}", watched.empty() ? "; watched: " : ", ", term.name, number_text(term.value));
      continue;
    }
    const std::string weight = term.weight == 1 ? "" : fmt::format("{} × ", json_number(term.weight).dump());
    kept += fmt::format("{}{}{} {}", kept.empty() ? " = " : " + ", weight, term.name, number_text(term.value));
  }
  return fmt::format("total {}{}{}", number_text(total), kept, watched);
}

std::string empty_text(const EpochValues& values) {
  std::string text;
  for (const EpochTerm& term : values.terms)
    if (term.empty > 0)
      text += fmt::format("warning: \"{}\" had no valid entry in {} of {} batches: value 0 and no gradient there\n",
                          term.name, term.empty, values.batches);
  return text;
}

std::string values_text(const EpochValues& values) {
  std::string terms;
  for (const EpochTerm& term : values.terms)
    terms += fmt::format("{}{} {}", terms.empty() ? "" : ", ", term.name, number_text(term.value));
  std::string text = fmt::format("total {}", number_text(values.total));
  if (!terms.empty()) text += fmt::format(" ({})", terms);
  for (const auto& [name, value] : values.metrics) text += fmt::format(", {} {}", name, number_text(value));
  return text;
}

std::string ledger_text(const EpochValues& values, const Spec& spec) {
  std::vector<std::vector<std::string>> rows{{"loss", "value", "weight", "contribution", "share"}};
  for (const EpochTerm& term : values.terms)
    rows.push_back({term.name, number_text(term.value), json_number(term.weight).dump(), number_text(term.contribution),
                    share_text(term.contribution, values.total)});
  rows.push_back({"total", "", "", number_text(values.total), ""});
  if (spec.loss)
    for (const TermSpec& term : spec.loss->terms)
      if (!reports(values, term.name)) rows.push_back({term.name, "excluded", "", "", ""});
  std::string text = table_text(rows, "lrrrr") + empty_text(values);
  if (values.metrics.empty()) return text;
  rows = {{"metric", "value"}};
  for (const auto& [name, value] : values.metrics) rows.push_back({name, number_text(value)});
  return text + '\n' + table_text(rows, "lr");
}

}  // namespace weir::cli
