// The reference of all ops as Markdown, made from their records.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/reading.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {
namespace {

std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : c == '\n' ? std::string(" ") : std::string(1, c);
  return out;
}

std::string default_of(const AttributeDef& record) {
  if (record.standard && record.pytorch)
    return fmt::format("`{}`; pytorch: `{}`", to_string(*record.standard), to_string(*record.pytorch));
  if (record.standard) return fmt::format("`{}`", to_string(*record.standard));
  return record.optional ? "" : "required";
}

std::string table(const std::vector<AttributeDef>& records) {
  if (records.empty()) return "";
  std::string text = "\n| key | value | default | meaning |\n|---|---|---|---|\n";
  for (const AttributeDef& record : records)
    text += fmt::format("| `{}` | {} | {} | {} |\n", record.name, cell(expectation(record)), cell(default_of(record)),
                        cell(record.doc));
  return text;
}

/// What a specification can say of this op beside the keys that all of its kind have.
std::vector<AttributeDef> own_keys(const OpDef& op, Keys keys) {
  std::vector<AttributeDef> records;
  for (const AttributeDef& attribute : op.attributes) {
    const KeyDef* shared = find_key(keys, attribute.name);
    if (!attribute.later && (!shared || shared->value.later)) records.push_back(attribute);
  }
  return records;
}

std::string inputs_text(const OpDef& op) {
  std::vector<std::string> names;
  for (const OperandDef& operand : op.operands) {
    if (operand.kind == OperandKind::variadic) return "reads one node or more; ";
    if (operand.kind == OperandKind::value)
      names.push_back(std::string(operand.name) + (operand.optional ? " (may be left out)" : ""));
  }
  return names.size() > 1 ? fmt::format("`from` is an object of {}; ", fmt::join(names, ", ")) : "";
}

std::string notes_of(const OpDef& op) {
  std::string text;
  if (op.role == Role::layer) text += inputs_text(op);
  if (op.activation) text += "can be an `activation`; ";
  if (!op.logits_behind.empty()) text += fmt::format("at a {} it reads the logits behind it; ", op.logits_behind);
  if (op.integer_target) text += "the target holds class numbers (i32); ";
  if (op.no_target && op.role != Role::regularizer) text += "takes no target; ";
  if (op.target_gradient) text += "a gradient can flow into its target; ";
  if (op.carries_integers) text += "carries i32 through; ";
  if (text.empty()) return "";
  text.resize(text.size() - 2);
  text[0] = static_cast<char>(text[0] >= 'a' && text[0] <= 'z' ? text[0] - 'a' + 'A' : text[0]);
  return "\n" + text + ".\n";
}

std::string entry(const OpDef& op, Keys keys) {
  std::string text = fmt::format("\n### {}\n\n{}.\n\n    {}\n", op.name, op.summary, op.equation);
  text += notes_of(op) + table(own_keys(op, keys));
  if (!op.pytorch.empty()) text += fmt::format("\nIn profile pytorch: {}.\n", op.pytorch);
  if (!op.constraints.empty()) text += "\n";
  for (const std::string_view constraint : op.constraints) text += fmt::format("- {}\n", constraint);
  return text;
}

std::string chapter(std::string_view title, Role role, Keys keys) {
  std::string text = fmt::format("\n## {}\n", title);
  for (const OpDef* op : ops_table())
    if (op->role == role) text += entry(*op, keys);
  return text;
}

}  // namespace

std::string emit_op_tables() {
  std::string text =
      "<!-- Generated from the op records by emit_op_tables(). Do not edit. -->\n\n# Ops\n\n"
      "Every op that a specification can name, with the keys that are its own. A size that stands for a list of equal "
      "ones may be written "
      "as one number.\n";
  text += chapter("Layers", Role::layer, layer_keys());
  text += chapter("Losses", Role::loss, term_keys());
  text += chapter("Metrics", Role::metric, metric_keys());
  text += chapter("Regularizers", Role::regularizer, rule_keys(Role::regularizer));
  text += chapter("Constraints", Role::constraint, rule_keys(Role::constraint));
  text += chapter("Optimizers", Role::optimizer, optimizer_keys());
  return text;
}

}  // namespace weir
