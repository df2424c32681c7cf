#include "compiler/spec/reading.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"

namespace weir {
namespace {

std::string_view kind_text(Element::Kind kind) {
  switch (kind) {
    case Element::Kind::null:
      return "null";
    case Element::Kind::flag:
      return "true or false";
    case Element::Kind::integer:
      return "an integer";
    case Element::Kind::number:
      return "a number";
    case Element::Kind::text:
      return "a string";
    case Element::Kind::list:
      return "a list";
    case Element::Kind::object:
      break;
  }
  return "an object";
}

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

bool Reading::full() const { return diagnostics_.all().size() >= limits::mistakes; }

std::string Reading::from_flag(const Place& place, std::string message) const {
  if (place.line > 0) return message;
  const Origin* best = nullptr;
  for (const Origin& origin : origins_)
    if (place.pointer == origin.pointer || place.pointer.starts_with(origin.pointer + "/"))
      if (!best || origin.pointer.size() >= best->pointer.size()) best = &origin;
  return best ? best->flag + ": " + message : message;
}

Diagnostic& Reading::error(std::string_view code, const Place& place, std::string message) {
  if (full()) return dropped_ = {};
  return diagnostics_.error(code, place, from_flag(place, std::move(message)));
}

Diagnostic& Reading::warning(std::string_view code, const Place& place, std::string message) {
  if (full()) return dropped_ = {};
  return diagnostics_.warning(code, place, from_flag(place, std::move(message)));
}

std::string Reading::suggestion(std::string_view word, const std::vector<std::string>& candidates,
                                const std::string& fallback) {
  if (full() || !may_suggest()) return fallback;
  words_compared_ += candidates.size();
  const std::string_view usual = usual_word(word);
  const std::string near =
      !usual.empty() && contains(candidates, usual) ? std::string(usual) : nearest(word, candidates);
  return near.empty() ? fallback : fmt::format("did you mean \"{}\"?", near);
}

bool Reading::expect(const Element& element, Element::Kind kind, std::string_view subject, std::string_view key,
                     std::string_view help) {
  if (element.is(kind)) return true;
  error("E0203", element.place,
        fmt::format("{}: \"{}\" must be {}, found {}", subject, key, kind_text(kind), describe(element)))
      .help = help;
  return false;
}

ObjectReader::ObjectReader(Reading& reading, const Element& object, std::string subject, Keys keys, const OpDef* op,
                           Further further)
    : reading_(reading), object_(object), subject_(std::move(subject)), keys_(keys), op_(op), further_(further) {
  for (const Member& member : object_.members)
    if (!is_free_key(member.key)) check_key(member);
  check_missing();
}

bool ObjectReader::meant(std::string_view key) const { return object_.find(key) || contains(misspelt_, key); }

bool ObjectReader::is_known(std::string_view key) const {
  const KeyDef* own = find_key(keys_, key);
  if (own && !own->value.later) return own->refused.empty();
  const AttributeDef* attribute = op_ ? find_attribute(*op_, key) : nullptr;
  if (attribute) return !attribute->later;
  const std::vector<std::string> rules = names_of_rules();
  return std::find(rules.begin(), rules.end(), key) != rules.end();
}

/// Regularizers and constraints, where the object is a layer.
std::vector<std::string> ObjectReader::names_of_rules() const {
  std::vector<std::string> names;
  if (!op_ || keys_.data() != layer_keys().data()) return names;
  for (const RuleKey& rule : rule_keys_of(*op_)) names.push_back(rule.name);
  return names;
}

/// Reports a word that is not supported yet.
bool ObjectReader::is_later_word(const KeyDef& own, const Element& element) const {
  const auto& later = own.later_words;
  if (!element.is(Element::Kind::text) || std::find(later.begin(), later.end(), element.text) == later.end())
    return false;
  reading_
      .error("E0210", element.place,
             fmt::format("{}: \"{}\": \"{}\" is not supported yet", subject_, own.value.name, element.text))
      .help = fmt::format("supported: {}", fmt::join(own.value.words, ", "));
  return true;
}

const Element* ObjectReader::find(std::string_view key) const { return is_known(key) ? object_.find(key) : nullptr; }

void ObjectReader::check_key(const Member& member) {
  if (is_known(member.key)) return;
  const KeyDef* own = find_key(keys_, member.key);
  const bool later = own || (op_ && find_attribute(*op_, member.key));
  if (own && !own->refused.empty())
    reading_.error("E0211", member.place, fmt::format("{}: \"{}\" is not allowed here", subject_, member.key)).help =
        own->refused;
  else if (later)
    reading_.error("E0210", member.place, fmt::format("{}: \"{}\" is not supported yet", subject_, member.key)).help =
        "the word is reserved in weir/1; leave it out for now";
  else
    report_unknown(member);
}

std::vector<std::string> ObjectReader::known_keys() const {
  std::vector<std::string> known;
  for (const KeyDef& key : keys_)
    if (key.refused.empty() && !key.value.later) known.emplace_back(key.value.name);
  if (op_)
    for (const AttributeDef& attribute : op_->attributes)
      if (!attribute.later && !contains(known, attribute.name)) known.emplace_back(attribute.name);
  const std::vector<std::string> rules = names_of_rules();
  known.insert(known.end(), rules.begin(), rules.end());
  return known;
}

void ObjectReader::report_unknown(const Member& member) {
  const std::vector<std::string> known = known_keys();
  const std::string near = nearest(member.key, known);
  const auto has_key = [&](const OpDef* op) { return find_attribute(*op, member.key) != nullptr; };
  if (further_ == Further::unknown && (near.empty() || std::any_of(ops_table().begin(), ops_table().end(), has_key)))
    return;
  if (!near.empty()) misspelt_.push_back(near);
  reading_.error("E0201", member.place, fmt::format("{}: unknown key {}", subject_, quote(member.key))).help =
      reading_.suggestion(member.key, known, fmt::format("known keys: {}", fmt::join(known, ", ")));
}

/// A missing key that the user evidently wrote with a slip is no second mistake.
void ObjectReader::check_missing() {
  const auto check = [&](const AttributeDef& record) {
    if (record.standard || record.optional || meant(record.name)) return;
    reading_.error("E0202", object_.place, fmt::format("{}: \"{}\" is missing", subject_, record.name)).help =
        fmt::format("{}: {}", record.name, record.doc);
  };
  for (const KeyDef& key : keys_) check(key.value);
  if (!op_) return;
  for (const AttributeDef& attribute : op_->attributes)
    if (!find_key(keys_, attribute.name)) check(attribute);
}

Attributes ObjectReader::attributes() const {
  Attributes given;
  if (!op_) return given;
  for (const AttributeDef& attribute : op_->attributes) {
    if (find_key(keys_, attribute.name)) continue;
    if (const Element* element = find(attribute.name); element && !is_schedule(attribute, *element))
      if (auto value = read_value(reading_, subject_, attribute, *element))
        given.set(std::string(attribute.name), *value);
  }
  return with_defaults(*op_, std::move(given), reading_.numerics);
}

std::vector<std::string> op_names(const std::vector<Role>& roles) {
  std::vector<std::string> names;
  for (const OpDef* op : ops_table())
    if (std::find(roles.begin(), roles.end(), op->role) != roles.end()) names.emplace_back(op->name);
  return names;
}

std::vector<std::string> activation_names() {
  std::vector<std::string> names{"linear"};
  for (const OpDef* op : ops_table())
    if (op->activation && op->role == Role::layer) names.emplace_back(op->name);
  return names;
}

namespace {

std::string_view role_text(Role role) {
  switch (role) {
    case Role::layer:
      return "a layer";
    case Role::loss:
      return "a loss";
    case Role::metric:
      return "a metric";
    case Role::optimizer:
      return "an optimizer";
    case Role::regularizer:
      return "a regularizer";
    case Role::constraint:
      return "a constraint";
    case Role::internal:
      break;
  }
  return "private";
}

}  // namespace

const OpDef* read_op(Reading& reading, const std::string& subject, const Element& element, std::string_view what,
                     const std::vector<Role>& roles, const std::vector<std::string_view>& later) {
  if (!reading.expect(element, Element::Kind::text, subject, "type")) return nullptr;
  const std::vector<std::string> known = op_names(roles);
  const OpDef* op = find_op(element.text);
  if (contains(known, element.text)) return op;
  const std::string word = quote(element.text), list = fmt::format("known: {}", fmt::join(known, ", "));
  if (op && op->role != Role::internal)
    reading
        .error("E0213", element.place,
               fmt::format("{}: {} is {}, not {} {}", subject, word, role_text(op->role),
                           what == "optimizer" ? "an" : "a", what))
        .help = list;
  else if (std::find(later.begin(), later.end(), element.text) != later.end())
    reading.error("E0210", element.place, fmt::format("{}: the {} {} is not supported yet", subject, what, word)).help =
        list;
  else
    reading.error("E0212", element.place, fmt::format("{}: unknown {} {}", subject, what, word)).help =
        reading.suggestion(element.text, known, list);
  return nullptr;
}

bool check_name(Reading& reading, const std::string& name, const Place& place, std::string_view what,
                const std::vector<std::string_view>& reserved) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto inside = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; };
  const auto refuse = [&](std::string_view code, const std::string& reason, std::string_view help) {
    reading.error(code, place, fmt::format("{} is no name for {}: {}", quote(name), what, reason)).help = help;
    return false;
  };
  if (name.size() > limits::name_bytes)
    return refuse("E0104", fmt::format("it is longer than {} bytes", limits::name_bytes), "");
  if (name.empty() || !letter(name[0]) || !std::all_of(name.begin(), name.end(), inside))
    return refuse("E0206", "names start with a letter or _", "after that, letters, digits, _ and - are allowed");
  if (name.starts_with("x-"))
    return refuse("E0206", "keys that start with x- belong to tools", "choose another first letter");
  if (std::find(reserved.begin(), reserved.end(), name) != reserved.end())
    return refuse("E0208", "the word is reserved", "reports use it; choose another name");
  return true;
}

}  // namespace weir
