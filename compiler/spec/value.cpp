// One plain value of the file by its record: type, range, words, and the forms that stand for lists.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/reading.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

/// The value at hand with all that a message about it needs.
struct Subject {
  Reading& reading;
  const std::string& subject;
  const AttributeDef& record;

  std::nullopt_t refuse(std::string_view code, const Element& element, const std::string& what,
                        std::string_view help = "") const {
    reading.error(code, element.place, fmt::format("{}: \"{}\" {}", subject, record.name, what)).help = help;
    return std::nullopt;
  }
  std::nullopt_t wrong_type(const Element& element, std::string_view help = "") const {
    return refuse("E0203", element, fmt::format("must be {}, found {}", expectation(record), describe(element)), help);
  }
};

bool in_range(const AttributeDef& record, double value) {
  const bool above = record.exclusive_least ? value > record.least : value >= record.least;
  return above && (record.exclusive_most ? value < record.most : value <= record.most);
}

std::optional<std::int64_t> read_integer(const Subject& at, const Element& element, double least, double most) {
  if (!element.is(Kind::integer)) {
    const bool whole =
        element.is(Kind::number) && element.number == std::floor(element.number) && std::abs(element.number) < 1e15;
    return at.wrong_type(element, whole ? fmt::format("write {}", static_cast<std::int64_t>(element.number)) : "");
  }
  AttributeDef range = at.record;
  range.least = std::max(range.least, least);
  range.most = std::min(range.most, most);
  if (in_range(range, static_cast<double>(element.integer))) return element.integer;
  return at.refuse("E0204", element, fmt::format("is {}, it must be an integer{}", element.integer, range_text(range)));
}

constexpr auto least_integer = static_cast<double>(std::numeric_limits<std::int64_t>::min());
constexpr auto most_integer = static_cast<double>(std::numeric_limits<std::int64_t>::max());
constexpr auto most_extent = static_cast<double>(limits::extent);

std::optional<AttributeValue> read_flag(const Subject& at, const Element& element) {
  if (!element.is(Kind::flag)) return at.wrong_type(element);
  return element.flag;
}

std::optional<AttributeValue> read_number(const Subject& at, const Element& element) {
  if (element.is(Kind::object) && at.record.name == "learning_rate")
    return at.refuse("E0210", element, "as a schedule is not supported yet", "write a number");
  if (!element.is_number()) return at.wrong_type(element);
  const double value = element.number;
  if (!in_range(at.record, value))
    return at.refuse("E0204", element,
                     fmt::format("is {}, it must be a number{}", describe(element), range_text(at.record)));
  if (std::abs(value) > std::numeric_limits<float>::max())
    return at.refuse("E0204", element,
                     fmt::format("is {}, which is beyond the range of a 32-bit float", describe(element)));
  return value;
}

std::optional<AttributeValue> read_word(const Subject& at, const Element& element) {
  if (!element.is(Kind::text)) return at.wrong_type(element);
  const auto& words = at.record.words;
  if (words.empty() || std::find(words.begin(), words.end(), element.text) != words.end()) return element.text;
  const std::vector<std::string> known(words.begin(), words.end());
  return at.refuse("E0205", element, fmt::format("must be {}, found {}", expectation(at.record), quote(element.text)),
                   at.reading.suggestion(element.text, known));
}

/// A list of integers, or one integer that stands for `count` equal ones.
std::optional<AttributeValue> read_integers(const Subject& at, const Element& element, std::size_t count) {
  if (element.is(Kind::integer) && count > 0) {
    const auto value = read_integer(at, element, -most_extent, most_extent);
    if (!value) return std::nullopt;
    return std::vector<std::int64_t>(count, *value);
  }
  const bool fits = count > 0 ? element.items.size() == count : !element.items.empty();
  if (!element.is(Kind::list) || !fits) return at.wrong_type(element);
  if (element.items.size() > limits::rank)
    return at.refuse("E0104", element,
                     fmt::format("has {} entries, at most {} are possible", element.items.size(), limits::rank));
  std::vector<std::int64_t> values;
  for (const Element& item : element.items)
    if (const auto value = read_integer(at, item, -most_extent, most_extent)) values.push_back(*value);
  if (values.size() != element.items.size()) return std::nullopt;
  return values;
}

std::optional<AttributeValue> read_numbers(const Subject& at, const Element& element) {
  if (!element.is(Kind::list) || element.items.empty()) return at.wrong_type(element);
  std::vector<double> values;
  for (const Element& item : element.items)
    if (const auto value = read_number(at, item)) values.push_back(std::get<double>(*value));
  if (values.size() != element.items.size()) return std::nullopt;
  return values;
}

std::optional<AttributeValue> read_padding(const Subject& at, const Element& element) {
  if (element.is(Kind::text)) {
    if (element.text == "valid" || element.text == "same") return element.text;
    return at.refuse("E0205", element, fmt::format("must be {}, found {}", expectation(at.record), quote(element.text)),
                     at.reading.suggestion(element.text, {"valid", "same"}));
  }
  const auto is_pair = [](const Element& pair) { return pair.is(Kind::list) && pair.items.size() == 2; };
  if (!is_pair(element) || !is_pair(element.items[0]) || !is_pair(element.items[1])) return at.wrong_type(element);
  std::vector<std::int64_t> values;
  for (const Element& pair : element.items)
    for (const Element& side : pair.items)
      if (const auto value = read_integer(at, side, 0, most_extent)) values.push_back(*value);
  if (values.size() != 4) return std::nullopt;
  return values;
}

std::optional<AttributeValue> read_activation(const Subject& at, const Element& element) {
  if (!element.is(Kind::text))
    return at.wrong_type(element, element.is(Kind::null) ? "leave the key out, or write \"linear\"" : "");
  const std::vector<std::string> known = activation_names();
  if (std::find(known.begin(), known.end(), element.text) != known.end()) return element.text;
  const auto& later = LaterWords::activations();
  const std::string word = quote(element.text), list = fmt::format("supported: {}", fmt::join(known, ", "));
  if (std::find(later.begin(), later.end(), element.text) != later.end())
    return at.refuse("E0210", element, fmt::format("{} is not supported yet", word), list);
  return at.refuse("E0205", element, fmt::format("names no activation: {}", word),
                   at.reading.suggestion(element.text, known, list));
}

std::optional<AttributeValue> read_axis(const Subject& at, const Element& element) {
  if (element.is(Kind::integer) && element.integer >= 0)
    return at.refuse("E0204", element,
                     fmt::format("is {}, but axes are counted from the end, with -1 the last", element.integer),
                     "write a negative number: the batch axis is implied and has none");
  const auto value = read_integer(at, element, -static_cast<double>(limits::rank), -1);
  if (!value) return std::nullopt;
  return *value;
}

/// An integer, or a list of different ones; which of them the parameter has is checked with its shape.
std::optional<AttributeValue> read_axes(const Subject& at, const Element& element) {
  const double rank = limits::rank;
  std::vector<std::int64_t> values;
  if (!element.is(Kind::integer) && !(element.is(Kind::list) && !element.items.empty())) return at.wrong_type(element);
  for (const Element& item : element.is(Kind::list) ? element.items : std::vector<Element>{element}) {
    const auto value = read_integer(at, item, -rank, rank - 1);
    if (!value) return std::nullopt;
    if (std::find(values.begin(), values.end(), *value) != values.end())
      return at.refuse("E0207", item, fmt::format("names axis {} twice", *value));
    values.push_back(*value);
  }
  return values;
}

// ---- Initializers: the runtime knows their types and arguments and is asked piece by piece, so that each mistake has
// its own place.

bool accept(const Subject& at, const Element& element, const Initializer& initializer) {
  try {
    check_initializer(initializer, "");
    return true;
  } catch (const Error& error) {
    const char* code = error.code() == ErrorCode::unsupported ? "E0210" : "E0204";
    at.reading.error(code, element.place, fmt::format("{}: \"{}\"{}", at.subject, at.record.name, error.what()));
    return false;
  }
}

const InitializerType* read_initializer_type(const Subject& at, const Element& element) {
  if (!element.is(Kind::text)) {
    at.wrong_type(element);
    return nullptr;
  }
  std::vector<std::string> known;
  for (const InitializerType& type : initializer_types()) {
    if (type.type == element.text) return &type;
    known.emplace_back(type.type);
  }
  const std::string list = fmt::format("known: {}", fmt::join(known, ", "));
  if (element.text == "orthogonal" || element.text == "identity")
    at.refuse("E0210", element, fmt::format("{} is not supported yet", quote(element.text)), list);
  else
    at.refuse("E0205", element, fmt::format("names no initializer: {}", quote(element.text)),
              at.reading.suggestion(element.text, known, list));
  return nullptr;
}

/// One argument of an initializer; false where it is wrong.
bool read_argument(const Subject& at, const Member& member, const InitializerType& type, Initializer& initializer) {
  const Element& value = member.value;
  const auto takes = [&](const auto& names) {
    return std::find(names.begin(), names.end(), member.key) != names.end();
  };
  const auto report = [&](std::string_view code, const Place& place, const std::string& what) -> Diagnostic& {
    return at.reading.error(code, place, fmt::format("{}: \"{}\": {}", at.subject, at.record.name, what));
  };
  if (!takes(type.numbers) && !takes(type.words)) {
    std::vector<std::string> known(type.numbers.begin(), type.numbers.end());
    known.insert(known.end(), type.words.begin(), type.words.end());
    report("E0201", member.place, fmt::format("{} takes no {}", type.type, quote(member.key))).help =
        at.reading.suggestion(member.key, known, known.empty() ? "" : fmt::format("known: {}", fmt::join(known, ", ")));
    return false;
  }
  const bool number = takes(type.numbers);
  if (number ? !value.is_number() : !value.is(Kind::text)) {
    report("E0203", value.place,
           fmt::format("\"{}\" must be a {}, found {}", member.key, number ? "number" : "string", describe(value)));
    return false;
  }
  Initializer alone{initializer.type, {}, {}};
  if (number)
    alone.numbers[member.key] = initializer.numbers[member.key] = value.number;
  else
    alone.words[member.key] = initializer.words[member.key] = value.text;
  const bool between = member.key == "minval" || member.key == "maxval";  // judged together
  return between || accept(at, value, alone);
}

std::nullopt_t missing_type(const Subject& at, const Element& element) {
  for (const Member& member : element.members)
    if (!is_free_key(member.key) && nearest(member.key, {"type"}) == "type") {
      at.reading
          .error("E0201", member.place,
                 fmt::format("{}: \"{}\": unknown key {}", at.subject, at.record.name, quote(member.key)))
          .help = "did you mean \"type\"?";
      return std::nullopt;
    }
  return at.refuse("E0202", element, "needs a \"type\"", "such as {\"type\": \"random_normal\", \"stddev\": 0.01}");
}

std::optional<AttributeValue> read_initializer(const Subject& at, const Element& element) {
  const bool named = element.is(Kind::text);
  if (!named && !element.is(Kind::object)) return at.wrong_type(element);
  const Element* word = named ? &element : element.find("type");
  if (!word) return missing_type(at, element);
  const InitializerType* type = read_initializer_type(at, *word);
  if (!type) return std::nullopt;
  Initializer initializer{std::string(type->type), {}, {}};
  bool good = true;
  for (const Member& member : element.members)
    if (member.key != "type" && !is_free_key(member.key)) good = read_argument(at, member, *type, initializer) && good;
  if (!good || !accept(at, element, initializer)) return std::nullopt;
  return initializer;
}

}  // namespace

std::string range_text(const AttributeDef& record) {
  std::string text;
  if (std::isfinite(record.least) && record.least > least_integer)
    text += fmt::format(" {} {}", record.exclusive_least ? "above" : "of at least", shortest(record.least));
  if (std::isfinite(record.most) && record.most < most_integer)
    text += fmt::format("{}{} {}", text.empty() ? " " : " and ", record.exclusive_most ? "below" : "at most",
                        shortest(record.most));
  return text;
}

std::string expectation(const AttributeDef& record) {
  switch (record.type) {
    case AttributeType::flag:
      return "true or false";
    case AttributeType::integer:
      return "an integer" + range_text(record);
    case AttributeType::number:
      return "a number" + range_text(record) + (record.scheduled ? " or a schedule" : "");
    case AttributeType::word:
      break;
    case AttributeType::sizes:
      return fmt::format("an integer, or a list of {} integers", record.count);
    case AttributeType::integers:
      return "a list of integers";
    case AttributeType::numbers:
      return "a list of numbers" + range_text(record);
    case AttributeType::padding:
      return "\"valid\", \"same\" or [[top, bottom], [left, right]]";
    case AttributeType::initializer:
      return "the name of an initializer, or an object with its type";
    case AttributeType::activation:
      return "the name of an activation";
    case AttributeType::axis:
      return "a negative integer";
    case AttributeType::axes:
      return "an integer, or a list of integers";
  }
  if (record.words.empty()) return "a string";
  return fmt::format("{}\"{}\"", record.words.size() > 1 ? "one of " : "", fmt::join(record.words, "\", \""));
}

std::optional<AttributeValue> read_value(Reading& reading, const std::string& subject, const AttributeDef& record,
                                         const Element& element) {
  const Subject at{reading, subject, record};
  switch (record.type) {
    case AttributeType::flag:
      return read_flag(at, element);
    case AttributeType::integer:
      break;
    case AttributeType::number:
      return read_number(at, element);
    case AttributeType::word:
      return read_word(at, element);
    case AttributeType::sizes:
      return read_integers(at, element, static_cast<std::size_t>(record.count));
    case AttributeType::integers:
      return read_integers(at, element, 0);
    case AttributeType::numbers:
      return read_numbers(at, element);
    case AttributeType::padding:
      return read_padding(at, element);
    case AttributeType::initializer:
      return read_initializer(at, element);
    case AttributeType::activation:
      return read_activation(at, element);
    case AttributeType::axis:
      return read_axis(at, element);
    case AttributeType::axes:
      return read_axes(at, element);
  }
  const auto value = read_integer(at, element, least_integer, most_integer);
  if (!value) return std::nullopt;
  return *value;
}

}  // namespace weir
