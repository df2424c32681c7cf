#include "compiler/profile_differences.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "compiler/ir/op.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;

std::string shown(const AttributeValue& value) {
  const auto* initializer = std::get_if<Initializer>(&value);
  if (initializer && initializer->type == "fan_in_uniform") return "uniform within 1/√(inputs of an output)";
  return to_string(value);
}

class Comparison {
 public:
  explicit Comparison(const Spec& spec) : spec_(spec), file_(Json::parse(spec.canonical)) {}

  std::vector<ProfileDifference> run() {
    for (const char* profile : {"keras", "keras-probabilities", "pytorch"})
      if (profile != spec_.numerics) compare(profile);
    return std::move(differences_);
  }

 private:
  void compare(const std::string& profile) {
    profile_ = profile;
    const bool pytorch = (profile == "pytorch") != (spec_.numerics == "pytorch");
    for (std::size_t i = 0; pytorch && i < spec_.layers.size(); ++i)
      compare_record(spec_.layers[i].name, *spec_.layers[i].op, file_.at("layers").at(i));
    const std::vector<TermSpec> none;
    for (const TermSpec& term : spec_.loss ? spec_.loss->terms : none) {
      const Json& written = file_.at("loss").at("terms").at(term.name);
      if (pytorch) compare_record(term.name, *term.op, written);
      if (pytorch) compare_class_weights(term, written);
      compare_logits(term, written);
    }
    if (pytorch && spec_.train) compare_record("optimizer", *spec_.train->optimizer, file_.at("train").at("optimizer"));
  }

  void compare_record(const std::string& where, const OpDef& op, const Json& written) {
    const bool to_pytorch = profile_ == "pytorch";
    for (const AttributeDef& attribute : op.attributes) {
      if (!attribute.pytorch || written.contains(attribute.name)) continue;
      const std::string keras = shown(*attribute.standard), pytorch = shown(*attribute.pytorch);
      add(where, std::string(attribute.name), to_pytorch ? keras : pytorch, to_pytorch ? pytorch : keras);
    }
    if (op.pytorch.empty()) return;
    const std::string formula(op.pytorch);
    add(where, "formula", to_pytorch ? "" : formula, to_pytorch ? formula : std::string(op.equation));
  }

  void compare_class_weights(const TermSpec& term, const Json& written) {
    if (!written.contains("class_weight") || !(term.op->class_target || term.op->integer_target)) return;
    const std::string keras = "by the number of entries", pytorch = "by the sum of the class weights";
    const bool to_pytorch = profile_ == "pytorch";
    add(term.name, "a mean divides", to_pytorch ? keras : pytorch, to_pytorch ? pytorch : keras);
  }

  /// Only keras-probabilities reads a softmax or sigmoid node itself.
  void compare_logits(const TermSpec& term, const Json& written) {
    if (term.op->logits_behind.empty() || written.contains("from_logits")) return;
    const std::string logits = "from the logits behind the node", probabilities = "from the node's probabilities";
    if (profile_ == "keras-probabilities") add(term.name, "computed", logits, probabilities);
    if (spec_.numerics == "keras-probabilities") add(term.name, "computed", probabilities, logits);
  }

  /// Equal differences at several places are one.
  void add(const std::string& where, const std::string& what, const std::string& here, const std::string& there) {
    const auto same = std::find_if(differences_.begin(), differences_.end(), [&](const ProfileDifference& other) {
      return other.profile == profile_ && other.what == what && other.here == here && other.there == there;
    });
    if (same != differences_.end())
      same->where.push_back(where);
    else
      differences_.push_back({profile_, {where}, what, here, there});
  }

  const Spec& spec_;
  Json file_;
  std::string profile_;
  std::vector<ProfileDifference> differences_;
};

}  // namespace

std::vector<ProfileDifference> profile_differences(const Spec& spec) { return Comparison(spec).run(); }

std::string to_text(const std::vector<ProfileDifference>& differences) {
  std::string text;
  for (const ProfileDifference& one : differences) {
    const std::string where = fmt::format("{}", fmt::join(one.where, ", "));
    if (one.here.empty())
      text += fmt::format("  {}: {}: {}\n", one.profile, where, one.there);
    else
      text += fmt::format("  {}: {}: {} {} (here {})\n", one.profile, where, one.what, one.there, one.here);
  }
  return text.empty() ? "" : "other profiles would differ here\n" + text;
}

}  // namespace weir
