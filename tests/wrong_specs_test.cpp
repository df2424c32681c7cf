// Wrong specifications: each is refused at its place, with its code, and with nothing that only follows from it.
#include <algorithm>
#include <functional>
#include <tuple>

#include <doctest/doctest.h>

#include "compiler/spec/document.hpp"
#include "compiler/spec/keys.hpp"
#include "compiler/spec/limits.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/error.hpp"
#include "tests/wrong_specs/cases.hpp"

using namespace weir;

namespace {

Diagnostics judge(const std::string& text) {
  Diagnostics diagnostics("spec.json", text);
  parse_spec(text, "spec", diagnostics);
  return diagnostics;
}

std::vector<Diagnostic> in_order(const Diagnostics& diagnostics) {
  std::vector<Diagnostic> list = diagnostics.all();
  std::stable_sort(list.begin(), list.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
  });
  return list;
}

void check_case(const wrong_specs::Case& wrong) {
  const Diagnostics diagnostics = judge(wrong.text);
  const std::string printed = diagnostics.to_text();
  CAPTURE(wrong.file);
  CAPTURE(wrong.title);
  CAPTURE(printed);
  const auto list = in_order(diagnostics);
  CHECK(list.size() == wrong.expected.size());
  for (std::size_t i = 0; i < std::min(list.size(), wrong.expected.size()); ++i) {
    const auto& expected = wrong.expected[i];
    CAPTURE(expected.part);
    CHECK(list[i].code == expected.code);
    CHECK(list[i].place.line == expected.line);
    CHECK(list[i].place.column == expected.column);
    CHECK(list[i].message.find(expected.part) != std::string::npos);
    const std::string first_line =
        "spec.json:" + std::to_string(expected.line) + ":" + std::to_string(expected.column) + ": " +
        (expected.code[0] == 'E' ? "error: " : "warning: ") + list[i].message + " [" + expected.code + "]\n";
    CHECK(printed.find(first_line) != std::string::npos);
  }
  for (const std::string& part : wrong.printed) CHECK_MESSAGE(printed.find(part) != std::string::npos, part);
}

/// The number of errors, all of them located, and none of ours.
std::size_t located_errors(const std::string& text) {
  const Diagnostics diagnostics = judge(text);
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    CAPTURE(diagnostic.message);
    CHECK(diagnostic.place.line >= 1);
    CHECK(diagnostic.place.column >= 1);
    CHECK(!diagnostic.code.empty());
  }
  CHECK(diagnostics.to_text().empty() == diagnostics.all().empty());
  return diagnostics.error_count();
}

// ---- Mutations of every key that a file can have: the base, and one network with every op and all of its keys.

/// Byte offset of a place.
std::size_t offset_of(const std::string& text, const Place& place) {
  std::size_t at = 0;
  for (int line = 1; line < place.line; ++line) at = text.find('\n', at) + 1;
  return at + static_cast<std::size_t>(place.column - 1);  // the text is ASCII
}

/// A member with the text of its key and value.
struct Found {
  const Member* member;
  const Element* object;
  std::size_t key, value, end;
  bool is_name;  ///< the key is a name that the user chose
};

std::size_t end_of(const std::string& text, const Element& value) {
  const std::size_t start = offset_of(text, value.place);
  if (!value.is(Element::Kind::object) && !value.is(Element::Kind::list))
    return start + static_cast<std::size_t>(value.place.length);
  int depth = 0;
  std::size_t at = start;
  do {
    if (text[at] == '"')
      at = text.find('"', at + 1);
    else
      depth += (text[at] == '{' || text[at] == '[') - (text[at] == '}' || text[at] == ']');
    ++at;
  } while (depth > 0);
  return at;
}

void find_members(const std::string& text, const Element& element, std::vector<Found>& found) {
  const auto ends = [&](std::string_view end) { return element.place.pointer.ends_with(end); };
  const bool names = ends("/inputs") || ends("/terms") || ends("/metrics") || ends("/data/train") || ends("/data/test");
  for (const Member& member : element.members) {
    const std::size_t key = offset_of(text, member.place), value = offset_of(text, member.value.place);
    found.push_back({&member, &element, key, value, end_of(text, member.value), names});
    find_members(text, member.value, found);
  }
  for (const Element& item : element.items) find_members(text, item, found);
}

std::string json_of(const AttributeValue& value) {
  if (const auto* initializer = std::get_if<Initializer>(&value)) return "\"" + initializer->type + "\"";
  return to_string(value);
}

/// A value for a key that a record describes: its default, or something in its range.
std::string sample(const AttributeDef& record) {
  if (record.standard) return json_of(*record.standard);
  const std::string least =
      record.least > -1e9 ? std::to_string(static_cast<std::int64_t>(record.least + (record.exclusive_least ? 1 : 0)))
                          : "1";
  switch (record.type) {
    case AttributeType::flag:
      return "true";
    case AttributeType::word:
      return record.words.empty() ? "\"word\"" : "\"" + std::string(record.words[0]) + "\"";
    case AttributeType::integers:
      return "[" + least + "]";
    case AttributeType::numbers:
      return "[1]";
    case AttributeType::padding:
      return "\"valid\"";
    case AttributeType::initializer:
      return "\"zeros\"";
    case AttributeType::activation:
      return "\"relu\"";
    case AttributeType::axis:
      return "-1";
    default:
      return least;
  }
}

std::string own_keys(const OpDef& op, Keys shared) {
  std::string text;
  for (const AttributeDef& attribute : op.attributes)
    if (!attribute.later && !find_key(shared, attribute.name))
      text += ", \"" + std::string(attribute.name) + "\": " + sample(attribute);
  return text;
}

/// "x", or an object where the op has several inputs.
std::string from_of(const OpDef& op) {
  std::string roles;
  int count = 0;
  for (const OperandDef& operand : op.operands)
    if (operand.kind == OperandKind::value)
      roles += (count++ ? ", \"" : "\"") + std::string(operand.name) + "\": \"x\"";
  return count > 1 ? "{" + roles + "}" : "\"x\"";
}

/// Every layer with all of its keys, every loss at a node of its own, every metric; one a line.
std::string spec_of_every_op(const OpDef& optimizer) {
  std::string layers, terms, metrics;
  const auto add = [](std::string& list, const std::string& entry) {
    list += (list.empty() ? "    " : ",\n    ") + entry;
  };
  const auto target = [](const OpDef& op) {
    return op.no_target                         ? ""
           : op.integer_target                  ? ", \"target\": {\"input\": \"label\"}"
           : find_attribute(op, "class_weight") ? ", \"target\": {\"input\": \"x\"}"
                                                : ", \"target\": {\"constant\": 0}";
  };
  for (const OpDef* op : ops_table()) {
    const std::string name(op->name), logits = op->logits_behind.empty() ? "" : ", \"from_logits\": true";
    const std::string rest = "\"type\": \"" + name + "\"";
    if (op->role == Role::layer)
      add(layers, "{\"name\": \"the_" + name + "\", " + rest + ", \"from\": " + from_of(*op) +
                      own_keys(*op, layer_keys()) + "}");
    if (op->role == Role::loss)
      add(terms, "\"" + name + "\": {" + rest + ", \"at\": \"x\", \"weight\": 1, \"reduction\": \"mean\"" + logits +
                     target(*op) + own_keys(*op, term_keys()) + "}");
    if (op->role == Role::metric)
      add(metrics, "\"" + name + "\": {" + rest + ", \"at\": \"x\"" + target(*op) + own_keys(*op, metric_keys()) + "}");
  }
  return "{\n  \"format\": \"weir/1\",\n  \"inputs\": {\"x\": {\"shape\": [4]}, \"label\": {\"shape\": [], \"dtype\": "
         "\"i32\"}},\n  \"layers\": [\n" +
         layers + "\n  ],\n  \"loss\": {\"terms\": {\n" + terms +
         "\n  }},\n  \"train\": {\n  \"optimizer\": {\"type\": \"" + std::string(optimizer.name) + "\"" +
         own_keys(optimizer, optimizer_keys()) + "},\n  \"metrics\": {\n" + metrics + "\n  }}\n}\n";
}

std::vector<std::string> specs_with_every_key() {
  std::vector<std::string> texts{wrong_specs::base()};
  for (const OpDef* op : ops_table())
    if (op->role == Role::optimizer) texts.push_back(spec_of_every_op(*op));
  return texts;
}

using Mutation = std::function<void(const std::string&, const Found&)>;

void for_every_key(const Mutation& mutate) {
  for (const std::string& text : specs_with_every_key()) {
    Diagnostics diagnostics;
    const auto root = parse_document(text, diagnostics);
    REQUIRE(root);
    REQUIRE(judge(text).error_count() == 0);
    std::vector<Found> found;
    find_members(text, *root, found);
    REQUIRE(found.size() > 50);
    for (const Found& one : found) {
      CAPTURE(one.member->place.pointer);
      mutate(text, one);
    }
  }
}

std::string with(const std::string& text, std::size_t begin, std::size_t end, const std::string& by) {
  return text.substr(0, begin) + by + text.substr(end);
}

/// Whether some diagnostic has that code at that place.
bool has(const Diagnostics& diagnostics, std::string_view code, const Place& place) {
  return std::any_of(diagnostics.all().begin(), diagnostics.all().end(), [&](const Diagnostic& diagnostic) {
    return diagnostic.code == code && diagnostic.place.line == place.line && diagnostic.place.column == place.column;
  });
}

/// The record of a plain value, wherever it is kept.
const AttributeDef* record_of(const Found& found) {
  const Element* type = found.object->find("type");
  const OpDef* op = type && type->is(Element::Kind::text) ? find_op(type->text) : nullptr;
  for (const Keys keys : {root_keys(), input_keys(), layer_keys(), loss_keys(), term_keys(), target_keys(),
                          train_keys(), data_keys(), random_keys()})
    if (const KeyDef* key = find_key(keys, found.member->key))
      if (key->holds.empty() && !key->value.later && key->refused.empty()) return &key->value;
  return op ? find_attribute(*op, found.member->key) : nullptr;
}

}  // namespace

TEST_CASE("every wrong specification of the corpus is refused at its place and nowhere else") {
  const auto cases = wrong_specs::read_all();
  CHECK(cases.size() >= 150);
  for (const auto& wrong : cases) check_case(wrong);
}

TEST_CASE("the base of the corpus is right") {
  const Diagnostics diagnostics = judge(wrong_specs::base());
  CHECK_MESSAGE(diagnostics.all().empty(), diagnostics.to_text());
}

TEST_CASE("every key with a letter too many is unknown, at the key, and is one mistake") {
  for_every_key([](const std::string& text, const Found& found) {
    if (found.is_name) return;
    const Diagnostics diagnostics = judge(with(text, found.key + 1, found.key + 1, "z"));
    CAPTURE(diagnostics.to_text());
    CHECK(has(diagnostics, "E0201", found.member->place));
    CHECK(diagnostics.error_count() == 1);
  });
}

TEST_CASE("every key that is there twice is reported at the second") {
  for_every_key([](const std::string& text, const Found& found) {
    const std::string member = text.substr(found.key, found.end - found.key);
    const std::string twice = with(text, found.end, found.end, ", " + member);
    const Diagnostics diagnostics = judge(twice);
    REQUIRE(diagnostics.error_count() == 1);
    CHECK(diagnostics.all()[0].code == "E0103");
    CHECK(offset_of(twice, diagnostics.all()[0].place) == found.end + 2);
  });
}

TEST_CASE("every key whose value is of a kind that nothing has is refused at the value") {
  for_every_key([](const std::string& text, const Found& found) {
    const Diagnostics diagnostics = judge(with(text, found.value, found.end, "null"));
    CAPTURE(diagnostics.to_text());
    CHECK(has(diagnostics, "E0203", found.member->value.place));
    CHECK(diagnostics.error_count() == 1);
  });
}

TEST_CASE("every key that is left out is either optional or reported") {
  for_every_key([](const std::string& text, const Found& found) {
    if (found.is_name || found.object->members.size() < 2) return;
    const bool last = text[found.end] != ',';
    const std::size_t begin = last ? text.rfind(',', found.key) : found.key, end = last ? found.end : found.end + 1;
    const AttributeDef* record = record_of(found);
    const Diagnostics diagnostics = judge(with(text, begin, end, ""));
    const bool required = record && !record->standard && !record->optional;
    CHECK(has(diagnostics, "E0202", found.object->place) >= required);
  });
}

TEST_CASE("every number beyond its range is refused at the number") {
  std::size_t tried = 0;
  for_every_key([&](const std::string& text, const Found& found) {
    const AttributeDef* record = record_of(found);
    const bool number = record && (record->type == AttributeType::integer || record->type == AttributeType::number);
    if (!number || !found.member->value.is_number()) return;
    const auto refuse = [&](const std::string& value) {
      ++tried;
      CAPTURE(value);
      CHECK(has(judge(with(text, found.value, found.end, value)), "E0204", found.member->value.place));
    };
    const bool whole = record->type == AttributeType::integer;
    const auto print = [&](double value) {
      return whole ? std::to_string(static_cast<std::int64_t>(value)) : shortest(value);
    };
    if (record->least > -1e15) refuse(print(record->exclusive_least ? record->least : record->least - 1));
    if (record->most < 1e15) refuse(print(record->exclusive_most ? record->most : record->most + 1));
    if (!whole) refuse("1e300");
  });
  CHECK(tried > 30);
}

TEST_CASE("a specification that ends anywhere is refused at a place") {
  const std::string text = wrong_specs::base();
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    CAPTURE(length);
    CHECK(located_errors(text.substr(0, length)) == 1);
  }
}

TEST_CASE("a specification with any byte replaced is accepted or refused at a place") {
  const std::string text = wrong_specs::base();
  for (std::size_t at = 0; at < text.size(); ++at)
    for (const char byte : {'\0', '"', '}', '-', '\x80', '9'}) {
      CAPTURE(at);
      std::string changed = text;
      changed[at] = byte;
      try {
        located_errors(changed);
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::version_mismatch);  // "weir/9"
      }
    }
}

TEST_CASE("deep nesting is refused where it becomes too deep") {
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += open;
    const Diagnostics diagnostics = judge(text);
    REQUIRE(diagnostics.error_count() == 1);
    CHECK(diagnostics.all()[0].code == "E0104");
    CHECK(diagnostics.all()[0].place.column == static_cast<int>(limits::json_depth * open.size() + 1));
  }
}

TEST_CASE("the deepest nesting is read") {
  std::string text = "1";
  for (std::size_t i = 0; i < limits::json_depth; ++i) text = "[" + text + "]";
  Diagnostics diagnostics;
  CHECK(parse_document(text, diagnostics));
  CHECK_FALSE(parse_document("[" + text + "]", diagnostics));
}

TEST_CASE("a string may be as long as the limit and not longer") {
  const std::string longest(limits::string_bytes, 'a');
  Diagnostics diagnostics;
  CHECK(parse_document("[\"" + longest + "\"]", diagnostics));
  CHECK_FALSE(parse_document("[\"" + longest + "a\"]", diagnostics));
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.all()[0].code == "E0104");
  CHECK(diagnostics.all()[0].place.column == 2);
}

TEST_CASE("a file may have as many values as the limit and not more") {
  std::string text = "[";
  for (std::size_t i = 0; i + 1 < limits::json_values; ++i) text += i ? ",1" : "1";
  Diagnostics diagnostics;
  CHECK(parse_document(text + "]", diagnostics));
  CHECK_FALSE(parse_document(text + ",1]", diagnostics));
  CHECK(diagnostics.all().at(0).code == "E0104");
}

TEST_CASE("an object may have as many keys as the limit and not more") {
  std::string text = "{";
  for (std::size_t i = 0; i < limits::object_members; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":1";
  Diagnostics diagnostics;
  CHECK(parse_document(text + "}", diagnostics));
  CHECK_FALSE(parse_document(text + ",\"a\":1}", diagnostics));
  CHECK(diagnostics.all().at(0).code == "E0104");
}

TEST_CASE("a file may have as many bytes as the limit and not more") {
  std::string text(limits::spec_bytes, ' ');
  text[0] = '1';
  Diagnostics diagnostics;
  CHECK(parse_document(text, diagnostics));
  CHECK_FALSE(parse_document(text + " ", diagnostics));
  CHECK(diagnostics.all().at(0).code == "E0104");
}

TEST_CASE("a name may have as many bytes as the limit and not more") {
  const auto text = [](std::size_t bytes) {
    return "{\"format\": \"weir/1\", \"inputs\": {\"x\": {\"shape\": [2]}}, \"layers\": [{\"name\": \"" +
           std::string(bytes, 'a') + "\", \"type\": \"relu\"}]}";
  };
  CHECK(judge(text(limits::name_bytes)).all().empty());
  const Diagnostics diagnostics = judge(text(limits::name_bytes + 1));
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.all()[0].code == "E0104");
}

namespace {

std::string chain(std::size_t layers, const std::string& last = "") {
  std::string text = "{\"format\": \"weir/1\", \"inputs\": {\"x\": {\"shape\": [2]}}, \"layers\": [";
  for (std::size_t i = 0; i < layers; ++i)
    text += (i ? ",\n" : "") + ("{\"name\": \"n" + std::to_string(i)) + "\", \"type\": \"relu\"}";
  return text + last + "]}";
}

std::string repeated(const std::string& entry, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i ? ", " : "") + entry;
  return text;
}

}  // namespace

TEST_CASE("a network may have as many layers as the limit and not more") {
  CHECK(judge(chain(limits::layers)).all().empty());
  const Diagnostics diagnostics = judge(chain(limits::layers + 1));
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.all()[0].code == "E0104");
}

TEST_CASE("a layer may read as many nodes as the limit and not more") {
  const auto text = [](std::size_t nodes) {
    return chain(1, ",\n{\"name\": \"sum\", \"type\": \"add\", \"from\": [" + repeated("\"n0\"", nodes) + "]}");
  };
  CHECK(judge(text(limits::operands)).all().empty());
  CHECK(judge(text(limits::operands + 1)).all().at(0).code == "E0104");
}

TEST_CASE("all layers together may read as many nodes as the limit and not more") {
  const auto text = [](std::size_t more) {
    std::string sums;
    for (int i = 0; i < 100; ++i)
      sums += ",\n{\"name\": \"s" + std::to_string(i) + "\", \"type\": \"add\", \"from\": [" +
              repeated("\"n0\"", i == 0 ? 999 + more : 1000) + "]}";
    return chain(1, sums);
  };
  CHECK(judge(text(0)).all().empty());
  CHECK(judge(text(1)).all().at(0).code == "E0104");
}

TEST_CASE("a loss may have as many terms as the limit and not more") {
  const auto text = [](std::size_t terms) {
    std::string list;
    for (std::size_t i = 0; i < terms; ++i)
      list += (i ? ",\n" : "") + ("\"t" + std::to_string(i)) + "\": {\"type\": \"value\", \"at\": \"n0\"}";
    std::string all = chain(1);
    all.pop_back();
    return all + ", \"loss\": {\"terms\": {" + list + "}}}";
  };
  CHECK(judge(text(limits::terms)).all().empty());
  const Diagnostics diagnostics = judge(text(limits::terms + 1));
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.all()[0].code == "E0104");
}

TEST_CASE("a cycle through thousands of layers is found") {
  const std::string text =
      wrong_specs::replaced(chain(9'000), "{\"name\": \"n0\", ", "{\"name\": \"n0\", \"from\": \"n8999\", ");
  const Diagnostics diagnostics = judge(text);
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.all()[0].code == "E0303");
}

TEST_CASE("thousands of mistakes are cut off") {
  const Diagnostics diagnostics =
      judge(chain(1, ",\n" + repeated("{\"name\": 1, \"type\": 2, \"from\": \"nothing\"}", 5'000)));
  CHECK(diagnostics.all().size() == limits::mistakes);
}

TEST_CASE("a newer format is another program's business and is not judged") {
  for (const char* format : {"weir/2", "weir/17", "weir/99999999999999999999"}) {
    const std::string text = std::string("{\"format\": \"") + format + "\", \"layers\": 3}";
    CAPTURE(text);
    try {
      judge(text);
      FAIL("nothing was thrown");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::version_mismatch);
      CHECK(std::string(error.what()).find("spec.json:1:12: ") == 0);
    }
  }
}

TEST_CASE("a long file in one line is judged like one in many") {
  const std::string text = chain(limits::layers - 1, ",\n{\"name\": 1, \"type\": \"relu\"}");
  std::string line = text;
  std::replace(line.begin(), line.end(), '\n', ' ');
  CHECK(judge(text).error_count() == 1);
  CHECK(judge(line).error_count() == 1);
}
