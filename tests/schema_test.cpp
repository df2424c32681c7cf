// The committed schema and op tables are what the records say now, and the schema judges as the reader does, as far as
// a schema can.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/spec/document.hpp"
#include "compiler/spec/spec.hpp"
#include "tests/wrong_specs/cases.hpp"

using namespace weir;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

/// Compares with the committed file; UPDATE_GOLDENS=1 writes it instead.
void check_committed(const fs::path& relative, const std::string& text) {
  const fs::path path = fs::path(WEIR_SOURCE_DIR) / relative;
  if (const char* update = std::getenv("UPDATE_GOLDENS"); update && std::string(update) == "1") {
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  const std::string committed(std::istreambuf_iterator<char>(file), {});
  CHECK_MESSAGE((committed == text), relative.string(), " is stale; UPDATE_GOLDENS=1 writes it anew");
}

/// JSON Schema as far as ours uses it. A keyword that it does not know fails the test, so none is skipped silently.
class Validator {
 public:
  explicit Validator(const json& root) : root_(root) {}
  bool accepts(const json& value) const { return accepts(root_, value); }

 private:
  bool accepts(const json& schema, const json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    bool good = true;
    for (const auto& [keyword, what] : schema.items()) good = good && judge(schema, keyword, what, value);
    return good;
  }

  bool judge(const json& schema, const std::string& keyword, const json& what, const json& value) const {
    if (keyword == "description" || keyword == "default" || keyword == "title" || keyword == "$schema" ||
        keyword == "$defs" || keyword == "then")
      return true;
    if (keyword == "$ref") return accepts(root_.at(json::json_pointer(what.get<std::string>().substr(1))), value);
    if (keyword == "const") return value == what;
    if (keyword == "enum") return std::find(what.begin(), what.end(), value) != what.end();
    if (keyword == "type") return is(what.get<std::string>(), value);
    if (keyword == "anyOf" || keyword == "oneOf" || keyword == "allOf") return combine(keyword, what, value);
    if (keyword == "if") return !accepts(what, value) || accepts(schema.at("then"), value);
    if (keyword == "minLength" || keyword == "maxLength" || keyword == "pattern")
      return !value.is_string() || of_text(keyword, what, value.get<std::string>());
    if (keyword == "minimum" || keyword == "maximum" || keyword == "exclusiveMinimum" || keyword == "exclusiveMaximum")
      return !value.is_number() || of_number(keyword, what.get<double>(), value.get<double>());
    if (keyword == "items" || keyword == "minItems" || keyword == "maxItems" || keyword == "uniqueItems")
      return !value.is_array() || of_list(keyword, what, value);
    return !value.is_object() || of_object(schema, keyword, what, value);
  }

  static bool is(const std::string& type, const json& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "number") return value.is_number();
    if (type != "integer") throw std::runtime_error("type " + type);
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
  }

  bool combine(const std::string& keyword, const json& parts, const json& value) const {
    const auto count = static_cast<std::size_t>(
        std::count_if(parts.begin(), parts.end(), [&](const json& part) { return accepts(part, value); }));
    return keyword == "anyOf" ? count > 0 : keyword == "oneOf" ? count == 1 : count == parts.size();
  }

  static bool of_text(const std::string& keyword, const json& what, const std::string& text) {
    if (keyword == "minLength") return text.size() >= what.get<std::size_t>();
    if (keyword == "maxLength") return text.size() <= what.get<std::size_t>();
    return std::regex_search(text, std::regex(what.get<std::string>()));
  }

  static bool of_number(const std::string& keyword, double bound, double value) {
    if (keyword == "minimum") return value >= bound;
    if (keyword == "maximum") return value <= bound;
    return keyword == "exclusiveMinimum" ? value > bound : value < bound;
  }

  bool of_list(const std::string& keyword, const json& what, const json& list) const {
    if (keyword == "minItems") return list.size() >= what.get<std::size_t>();
    if (keyword == "maxItems") return list.size() <= what.get<std::size_t>();
    if (keyword == "items")
      return std::all_of(list.begin(), list.end(), [&](const json& item) { return accepts(what, item); });
    for (std::size_t i = 0; i < list.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (list[i] == list[j]) return false;
    return true;
  }

  bool of_object(const json& schema, const std::string& keyword, const json& what, const json& object) const {
    if (keyword == "required")
      return std::all_of(what.begin(), what.end(),
                         [&](const json& key) { return object.contains(key.get<std::string>()); });
    if (keyword == "minProperties") return object.size() >= what.get<std::size_t>();
    bool good = true;
    for (const auto& [key, value] : object.items()) {
      const bool own = schema.contains("properties") && schema["properties"].contains(key);
      bool matched = own;
      if (keyword == "properties" && own) good = good && accepts(what.at(key), value);
      if (keyword == "patternProperties" || keyword == "additionalProperties")
        for (const auto& [pattern, inner] : schema.at("patternProperties").items()) {
          if (!std::regex_search(key, std::regex(pattern))) continue;
          matched = true;
          if (keyword == "patternProperties") good = good && accepts(inner, value);
        }
      if (keyword == "additionalProperties") good = good && (matched || what.get<bool>());
    }
    if (keyword != "properties" && keyword != "patternProperties" && keyword != "additionalProperties")
      throw std::runtime_error("keyword " + keyword);
    return good;
  }

  const json& root_;
};

const json& schema() {
  static const json parsed = json::parse(emit_schema());
  return parsed;
}

json without_comments(const std::string& text) { return json::parse(text, nullptr, true, true); }

bool reader_accepts(const std::string& text) {
  Diagnostics diagnostics;
  parse_spec(text, "spec", diagnostics);
  return !diagnostics.has_errors();
}

/// Mistakes that JSON Schema cannot tell, or that would cost more than they give: to it, 3.0 is an integer.
bool beyond_schemas(const std::string& title) {
  return title == "a fraction for an integer" || title == "an initializer's argument out of range" ||
         title == "an initializer's word" || title == "bounds of an initializer the wrong way round" ||
         title == "smoothed labels beside class weights as PyTorch has them";
}

/// What only the reader can know: whether names exist, how things fit together, limits on the whole file.
bool only_the_reader_knows(const std::string& code) {
  return code == "E0103" || code == "E0104" || code == "E0207" || code == "E0301" || code == "E0302" ||
         code == "E0303" || code == "E0304" || code[0] == 'W' || (code >= "E0401" && code <= "E0405") ||
         (code >= "E0412" && code <= "E0603");
}

}  // namespace

TEST_CASE("the committed schema is what the op records say") {
  check_committed("schemas/weir-1.schema.json", emit_schema());
}

TEST_CASE("the committed op tables are what the op records say") { check_committed("docs/ops.md", emit_op_tables()); }

TEST_CASE("every op that a specification can name is in the schema and in the tables") {
  const std::string tables = emit_op_tables();
  for (const OpDef* op : ops_table()) {
    if (op->role == Role::internal) continue;
    const std::string name(op->name);
    CAPTURE(name);
    const char* group = op->role == Role::layer         ? "layer."
                        : op->role == Role::loss        ? "loss."
                        : op->role == Role::metric      ? "metric."
                        : op->role == Role::regularizer ? "regularizer."
                        : op->role == Role::constraint  ? "constraint."
                                                        : "optimizer.";
    REQUIRE(schema().at("$defs").contains(group + name));
    CHECK(tables.find("\n### " + name + "\n") != std::string::npos);
    for (const AttributeDef& attribute : op->attributes) {
      CAPTURE(attribute.name);
      CHECK(schema().at("$defs").at(group + name).at("properties").contains(std::string(attribute.name)) !=
            attribute.later);
    }
  }
}

TEST_CASE("the schema accepts what the reader accepts") {
  const Validator validator(schema());
  CHECK(validator.accepts(without_comments(wrong_specs::base())));
  std::size_t models = 0;
  for (const auto& entry : fs::recursive_directory_iterator(WEIR_SOURCE_DIR)) {
    if (!entry.path().string().ends_with(".weir.json")) continue;
    const std::string text = wrong_specs::read(entry.path());
    CAPTURE(entry.path().string());
    REQUIRE(reader_accepts(text));
    CHECK(validator.accepts(without_comments(text)));
    ++models;
  }
  CHECK(models >= 3);
}

TEST_CASE("the schema refuses what the reader refuses, as far as a schema can tell") {
  const Validator validator(schema());
  std::size_t refused = 0;
  for (const auto& wrong : wrong_specs::read_all()) {
    const bool hidden = std::all_of(wrong.expected.begin(), wrong.expected.end(),
                                    [](const auto& one) { return only_the_reader_knows(one.code); });
    if (hidden || wrong.file == "json.txt" || beyond_schemas(wrong.title)) continue;
    CAPTURE(wrong.file);
    CAPTURE(wrong.title);
    CHECK_FALSE(validator.accepts(without_comments(wrong.text)));
    ++refused;
  }
  CHECK(refused > 120);
}
