#include "compiler/spec/spec.hpp"

#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include "compiler/spec/document.hpp"
#include "compiler/spec/sections.hpp"
#include "tests/wrong_specs/cases.hpp"

using namespace weir;

namespace {

Spec parsed(const std::string& text, const SpecOverrides& overrides = {}) {
  Diagnostics diagnostics("spec.json", text);
  Spec spec = parse_spec(text, "stem", diagnostics, overrides);
  CHECK_MESSAGE(diagnostics.all().empty(), diagnostics.to_text());
  return spec;
}

Diagnostics judged(const std::string& text, const SpecOverrides& overrides = {}) {
  Diagnostics diagnostics("spec.json", text);
  parse_spec(text, "stem", diagnostics, overrides);
  return diagnostics;
}

Element document(const std::string& text) {
  Diagnostics diagnostics("f", text);
  auto root = parse_document(text, diagnostics);
  REQUIRE_MESSAGE(root, diagnostics.to_text());
  return std::move(*root);
}

std::string place_of(const Place& place) {
  return std::to_string(place.line) + ":" + std::to_string(place.column) + "+" + std::to_string(place.length) + " " +
         place.pointer;
}

const LayerSpec& layer(const Spec& spec, std::string_view name) {
  for (const LayerSpec& one : spec.layers)
    if (one.name == name) return one;
  FAIL("no such layer");
  return spec.layers.at(0);
}

std::string sources(const LayerSpec& one) {
  std::string text;
  for (const auto& from : one.from) text += (text.empty() ? "" : " ") + from.value;
  return text;
}

/// A small network around some layers.
std::string network(const std::string& layers, const std::string& rest = "") {
  return "{\"format\": \"weir/1\", \"inputs\": {\"x\": {\"shape\": [4]}}, \"layers\": [" + layers + "]" + rest + "}";
}

std::string print(const Attributes& attributes) {
  std::string text;
  for (const auto& [name, value] : attributes) text += " " + name + "=" + to_string(value);
  return text;
}

std::string print(const std::vector<Located<std::string>>& names) {
  std::string text;
  for (const auto& name : names) text += " " + name.value;
  return text;
}

std::string print(const TermSpec& term) {
  const std::string logits = term.from_logits ? (*term.from_logits ? " logits" : " probabilities") : "";
  return term.name + " " + std::string(term.op->name) + " at " + term.at.value + " target " +
         std::to_string(static_cast<int>(term.target.kind)) + " " + term.target.name + " " +
         shortest(term.target.constant) + " " + std::to_string(term.target.one_hot) + " weight " +
         shortest(term.weight.value) + logits + print(term.attributes) + "\n";
}

std::string print(const DataSet& set) {
  std::string text;
  for (const auto& [name, source] : set) {
    text += " " + name + "=";
    if (const auto* path = std::get_if<std::string>(&source.source)) text += *path;
    if (const auto* csv = std::get_if<CsvSource>(&source.source)) {
      text += csv->file;
      for (const auto& column : csv->columns) text += "," + column;
    }
    if (const auto* random = std::get_if<RandomSource>(&source.source))
      text += "random " + std::to_string(random->samples) + " " + std::to_string(random->classes);
  }
  return text;
}

/// Everything that a Spec says, without places.
std::string print(const Spec& spec) {
  std::string text = spec.name + " " + spec.numerics + "\n";
  for (const auto& input : spec.inputs)
    text += input.name + " " + to_string(input.shape) + " " + std::string(to_string(input.dtype)) + "\n";
  for (const auto& one : spec.layers)
    text += one.name + " " + std::string(one.op->name) + " from " + sources(one) + print(one.attributes) + "\n";
  text += print(spec.outputs) + "\n";
  if (spec.loss) {
    for (const auto& term : spec.loss->terms) text += print(term);
    text += "exclude" + print(spec.loss->exclude) + " " + spec.loss->unreached + "\n";
  }
  if (spec.train) {
    const TrainSpec& train = *spec.train;
    text += std::string(train.optimizer->name) + print(train.optimizer_attributes);
    for (const std::int64_t value : {train.batch_size, train.epochs, static_cast<std::int64_t>(train.seed),
                                     std::int64_t{train.shuffle}, std::int64_t{train.drop_remainder}})
      text += " " + std::to_string(value);
    text += "\n";
    for (const auto& metric : train.metrics) text += print(metric);
  }
  if (spec.data)
    for (const auto* set : {&spec.data->train, &spec.data->validation, &spec.data->test})
      text += *set ? print(**set) + "\n" : "absent\n";
  return text + (spec.data ? shortest(spec.data->validation_split.value) : "");
}

}  // namespace

TEST_CASE("a document knows the place of every value and key") {
  const Element root = document("{\n  \"a\": [1, -2.5,\n    true], // c\n  \"größe\": {\"b/c~\": \"x y\"}\n}");
  CHECK(place_of(root.place) == "1:1+1 ");
  CHECK(place_of(root.find("a")->place) == "2:8+9 /a");
  CHECK(place_of(root.find("a")->items[1].place) == "2:12+4 /a/1");
  CHECK(place_of(root.find("a")->items[2].place) == "3:5+4 /a/2");
  CHECK(place_of(root.members[1].place) == "4:3+7 /größe");
  CHECK(place_of(root.find("größe")->place) == "4:12+15 /größe");
  CHECK(place_of(root.find("größe")->members[0].place) == "4:13+6 /größe/b~1c~0");
  CHECK(place_of(root.find("größe")->members[0].value.place) == "4:21+5 /größe/b~1c~0");
}

TEST_CASE("comments may stand between any two tokens") {
  const Element root = document("/**/{//}\n/* \" */\"a\"/*:*/:/*1*/2/*]*/,\"b\"//\n:[//,\n1/***/,/*/*/2]}//");
  CHECK(root.find("a")->integer == 2);
  CHECK(root.find("a")->place.column == 22);
  CHECK(root.find("b")->items.size() == 2);
  CHECK(document("{\"a\": \"// no /* comment */\"}").find("a")->text == "// no /* comment */");
}

TEST_CASE("integers keep all 64 bits, and numbers with a fraction or an exponent are none") {
  const Element root = document("[9223372036854775807, -9223372036854775808, 3.0, 1e3, -0.0, 5e-324, 0, 1e-999]");
  CHECK(root.items[0].integer == INT64_MAX);
  CHECK(root.items[1].integer == INT64_MIN);
  CHECK(root.items[2].is(Element::Kind::number));
  CHECK(root.items[3].is(Element::Kind::number));
  CHECK(root.items[3].number == 1000);
  CHECK(std::signbit(root.items[4].number));
  CHECK(root.items[5].number > 0);
  CHECK(root.items[6].is(Element::Kind::integer));
  CHECK(root.items[7].number == 0);
}

TEST_CASE("a document prints as compact JSON in its own order, without what means nothing") {
  const std::string text =
      "{\"b\": [1, 2.50, 1.0, -0.0, 1e300], // x\n \"$comment\": 1, \"a\": {\"x-tool\": 2, \"c\": null, \"$schema\": "
      "\"\"}, \"d\\n\": \"\\u00e9\\\"\"}";
  const std::string printed = print(document(text));
  CHECK(printed == "{\"b\":[1,2.5,1.0,-0.0,1e+300],\"a\":{\"c\":null},\"d\\n\":\"é\\\"\"}");
  CHECK(print(document(printed)) == printed);
}

TEST_CASE("quotes in messages are escaped and cut") {
  CHECK(quote("a\"b") == "\"a\\\"b\"");
  CHECK(quote("a\x1b") == "\"a\\u001b\"");
  const std::string cut = quote(std::string(79, 'a') + "ßßß");
  CHECK(cut == "\"" + std::string(79, 'a') + "…\"");
}

TEST_CASE("every part of a specification is read") {
  const std::string text = wrong_specs::base();
  const Spec spec = parsed(text);
  CHECK(spec.name == "base");
  CHECK(spec.inputs.at(0).shape == Dims{28, 28, 1});
  CHECK(spec.inputs.at(1).dtype == DType::i32);
  CHECK(spec.inputs.at(1).shape.empty());
  CHECK(place_of(spec.inputs.at(2).place) == "8:5+7 /inputs/extra");

  const LayerSpec& conv = layer(spec, "conv_1");
  CHECK(conv.op->name == "conv2d");
  CHECK(sources(conv) == "image");
  CHECK(conv.attributes.integer("filters") == 4);
  CHECK(conv.attributes.integers("kernel_size") == Dims{3, 3});
  CHECK(conv.attributes.word("padding") == "same");
  CHECK(conv.attributes.word("activation") == "relu");
  CHECK(conv.attributes.flag("use_bias"));
  CHECK(place_of(conv.places.at("kernel_size")) == "11:88+1 /layers/0/kernel_size");
  CHECK_FALSE(conv.places.contains("strides"));
  CHECK(place_of(conv.place) == "11:5+126 /layers/0");

  CHECK(sources(layer(spec, "pool_1")) == "conv_1");
  CHECK(layer(spec, "pool_1").attributes.integers("padding") == Dims{0, 0, 0, 0});
  CHECK(layer(spec, "hidden").attributes.initializer("kernel_initializer") ==
        Initializer{"random_normal", {{"stddev", 0.1}}, {}});
  CHECK(sources(layer(spec, "sum")) == "hidden extra");
  CHECK(place_of(layer(spec, "sum").from.at(1).place) == "15:55+7 /layers/4/from/1");
  CHECK(layer(spec, "output").attributes.integer("axis") == -1);
  CHECK(spec.outputs.at(1).value == "hidden:linear");

  const LossSpec& loss = *spec.loss;
  REQUIRE(loss.terms.size() == 5);
  CHECK(loss.terms[0].name == "small");
  CHECK(loss.terms[0].target.kind == TargetSpec::Kind::constant);
  CHECK(loss.terms[0].weight.value == 0.1);
  CHECK(loss.terms[0].attributes.word("reduction") == "mean");
  CHECK(loss.terms[1].target.kind == TargetSpec::Kind::input);
  CHECK(loss.terms[1].target.one_hot == 10);
  CHECK(loss.terms[1].attributes.number("label_smoothing") == 0.1);
  CHECK_FALSE(loss.terms[1].from_logits);
  CHECK(loss.terms[1].weight.value == 1);
  CHECK(place_of(loss.terms[1].place) == "24:7+7 /loss/terms/final");
  CHECK(place_of(loss.terms[1].at.place) == "24:59+8 /loss/terms/final/at");
  CHECK(loss.terms[2].target.kind == TargetSpec::Kind::node);
  CHECK(loss.terms[2].target.name == "hidden");
  CHECK(loss.terms[2].attributes.word("reduction") == "sum");
  CHECK(loss.terms[3].from_logits == true);
  CHECK(loss.terms[4].target.kind == TargetSpec::Kind::none);
  CHECK(loss.exclude.at(0).value == "classes");
  CHECK(loss.unreached == "warn");

  const TrainSpec& train = *spec.train;
  CHECK(train.optimizer->name == "sgd");
  CHECK(train.optimizer_attributes.number("learning_rate") == 0.01);
  CHECK(train.optimizer_attributes.flag("nesterov"));
  CHECK(train.batch_size == 32);
  CHECK(train.epochs == 2);
  CHECK(train.seed == 7);
  REQUIRE(train.metrics.size() == 3);
  CHECK(train.metrics[0].op->name == "categorical_accuracy");
  CHECK(train.metrics[2].at.value == "hidden");

  const DataSpec& data = *spec.data;
  CHECK(std::get<std::string>(data.train->at("image").source) == "images.npy");
  CHECK(std::get<RandomSource>(data.train->at("label").source).classes == 10);
  CHECK(std::get<CsvSource>(data.train->at("extra").source).columns.size() == 5);
  CHECK(std::get<RandomSource>(data.test->at("image").source).samples == 64);
  CHECK_FALSE(data.validation);
  CHECK(data.validation_split.value == 0.1);
}

TEST_CASE("what is left out has its default") {
  const Spec spec = parsed(network("{\"name\": \"y\", \"type\": \"relu\"}",
                                   ", \"loss\": {\"terms\": {\"t\": {\"type\": \"value\", \"at\": \"y\"}}}, \"train\": "
                                   "{\"optimizer\": {\"type\": \"adam\"}}"));
  CHECK(spec.name == "stem");
  CHECK(spec.numerics == "keras");
  CHECK(spec.outputs.empty());
  CHECK(spec.loss->unreached == "warn");
  CHECK(spec.train->batch_size == 32);
  CHECK(spec.train->epochs == 1);
  CHECK(spec.train->seed == 0);
  CHECK(spec.train->shuffle);
  CHECK_FALSE(spec.train->drop_remainder);
  CHECK(spec.train->optimizer_attributes.number("learning_rate") == 0.001);
  CHECK_FALSE(spec.data);
}

TEST_CASE("a layer without from reads the entry before, the first one the only f32 input") {
  const Spec spec = parsed(
      "{\"format\": \"weir/1\", \"inputs\": {\"c\": {\"shape\": [], \"dtype\": \"i32\"}, \"x\": {\"shape\": [4]}}, "
      "\"layers\": ["
      "{\"name\": \"a\", \"type\": \"relu\"}, {\"name\": \"b\", \"type\": \"relu\"}, {\"name\": \"s\", \"type\": "
      "\"add\"}],"
      "\"loss\": {\"terms\": {\"t\": {\"type\": \"mean_absolute_error\", \"at\": \"s\", \"target\": {\"input\": "
      "\"c\"}}}}}");
  CHECK(sources(spec.layers[0]) == "x");
  CHECK(sources(spec.layers[1]) == "a");
  CHECK(sources(spec.layers[2]) == "b");
}

TEST_CASE("layers may stand in any order where from is given") {
  const Spec spec = parsed(
      network("{\"name\": \"last\", \"type\": \"add\", \"from\": [\"left\", \"right:linear\", \"left\"]},"
              "{\"name\": \"right\", \"type\": \"dense\", \"units\": 4, \"activation\": \"tanh\", \"from\": \"first\"},"
              "{\"name\": \"left\", \"type\": \"relu\", \"from\": [\"first\"]},"
              "{\"name\": \"first\", \"type\": \"dense\", \"units\": 4, \"from\": \"x\"}"));
  CHECK(sources(spec.layers[0]) == "left right:linear left");
  CHECK(sources(spec.layers[2]) == "first");
}

TEST_CASE("comments, keys for tools and unusual text are welcome everywhere") {
  const std::string text = R"(// first
/* and */ {"$schema": "../schemas/weir-1.schema.json", "x-editor": {"zoom": [1, {"deep": null}]},
  "$comment": "größer als ∞ 😀 \ud83d\ude00 \u0000",
  "format": "weir/1", "inputs": {"$comment": "", "x-y": 3, "x": {"shape": [/* one */ 4], "$comment": []}},
  "layers": [{"x-position": [1, 2], "name": "a", "type": "dense", "units": 2, "$comment": {"any": 1},
              "kernel_initializer": {"type": "constant", "value": 1, "$comment": "all ones", "x-z": 0}},
             /* nothing */ {"name": "_-", "type": "relu"}],
  "loss": {"$comment": "", "terms": {"x-t": 1, "$comment": 2, "t": {"type": "mean_squared_error", "at": "_-",
           "x-why": "", "target": {"constant": 0, "x-c": 1}}}},
  "train": {"x-a": 1, "optimizer": {"type": "sgd", "x-b": 2}, "metrics": {"x-m": 3, "$comment": ""}},
  "data": {"x-d": 1, "train": {"$comment": "", "x-e": {}, "x": {"random": 5, "x-f": 6}}}
} // last)";
  const Spec spec = parsed(text);
  CHECK(spec.layers.size() == 2);
  CHECK(spec.loss->terms.size() == 1);
  CHECK(spec.train->metrics.empty());
  CHECK(spec.data->train->size() == 1);
  CHECK(spec.canonical.find("x-") == std::string::npos);
  CHECK(spec.canonical.find("$comment") == std::string::npos);
}

TEST_CASE("the name total is reserved for nodes, but common words are not") {
  const Spec spec =
      parsed(network("{\"name\": \"loss\", \"type\": \"relu\"}, {\"name\": \"linear\", \"type\": \"relu\"}, {\"name\": "
                     "\"weight\", \"type\": \"relu\"}"));
  CHECK(spec.layers.size() == 3);
}

TEST_CASE("a metric may be named like a node or a term") {
  const Spec spec = parsed(network(
      "{\"name\": \"y\", \"type\": \"relu\"}",
      ", \"loss\": {\"terms\": {\"t\": {\"type\": \"value\", \"at\": \"y\"}}}, \"train\": {\"optimizer\": {\"type\": "
      "\"sgd\"}, "
      "\"metrics\": {\"y\": {\"type\": \"mean\", \"at\": \"y\"}, \"t\": {\"type\": \"value\", \"at\": \"x\"}}}"));
  CHECK(spec.train->metrics.at(1).op->name == "value");
}

TEST_CASE("a crossentropy at a softmax or sigmoid needs no from_logits, in whatever form the node has it") {
  const auto term = [](const std::string& layers, const std::string& type, const std::string& at,
                       const std::string& more = "") {
    return network(layers, ", \"loss\": {\"terms\": {\"t\": {\"type\": \"" + type + "\", \"at\": \"" + at +
                               "\", \"target\": {\"constant\": 1}" + more + "}}}");
  };
  const std::string activation = "{\"name\": \"y\", \"type\": \"dense\", \"units\": 4, \"activation\": \"softmax\"}";
  const std::string layers =
      "{\"name\": \"z\", \"type\": \"dense\", \"units\": 4}, {\"name\": \"y\", \"type\": \"softmax\"}";
  CHECK_FALSE(parsed(term(activation, "categorical_crossentropy", "y")).loss->terms.at(0).from_logits);
  CHECK_FALSE(parsed(term(layers, "categorical_crossentropy", "y")).loss->terms.at(0).from_logits);
  CHECK(
      parsed(term(layers, "categorical_crossentropy", "y", ", \"from_logits\": false")).loss->terms.at(0).from_logits ==
      false);
  CHECK(
      parsed(term(layers, "categorical_crossentropy", "z", ", \"from_logits\": true")).loss->terms.at(0).from_logits ==
      true);
  CHECK(parsed(term(activation, "categorical_crossentropy", "y:linear", ", \"from_logits\": true"))
            .loss->terms.at(0)
            .from_logits == true);
  CHECK(parsed(term(activation, "categorical_crossentropy", "x", ", \"from_logits\": false"))
            .loss->terms.at(0)
            .from_logits == false);
  CHECK_FALSE(parsed(term("{\"name\": \"y\", \"type\": \"sigmoid\"}", "binary_crossentropy", "y"))
                  .loss->terms.at(0)
                  .from_logits);
}

TEST_CASE("exclude takes nodes, ports and terms, from the file and then from flags") {
  const std::string text =
      wrong_specs::replaced(wrong_specs::base(), "[\"classes\"]", "[\"hidden\", \"hidden:linear\"]");
  const Spec spec = parsed(text, {{}, {"final", "output"}});
  CHECK(print(spec.loss->exclude) == " hidden hidden:linear final output");
  CHECK(spec.loss->exclude[0].place.line == 29);
  CHECK(spec.loss->exclude[2].place.line == 0);
  CHECK(spec.canonical.find("\"exclude\":[\"hidden\",\"hidden:linear\",\"final\",\"output\"]") != std::string::npos);
}

TEST_CASE("a flag makes the list of what is left out where the file has none") {
  const std::string text = wrong_specs::replaced(wrong_specs::base(), "\"exclude\": [\"classes\"],", "");
  CHECK(print(parsed(text, {{}, {"final"}}).loss->exclude) == " final");
}

TEST_CASE("mistakes in flags name the flag") {
  const std::string text = wrong_specs::base();
  const auto expect = [&](const SpecOverrides& overrides, const std::string& printed) {
    const std::string all = judged(text, overrides).to_text();
    CAPTURE(all);
    CHECK(all.find(printed) != std::string::npos);
  };
  expect({{}, {"outptu"}},
         "spec.json: error: --exclude outptu: loss: \"exclude\" names an unknown node or term \"outptu\" [E0405]\n   "
         "help: did you mean \"output\"?");
  expect(
      {{}, {"drop"}},
      "spec.json: warning: --exclude drop: loss: \"exclude\" names \"drop\", where no loss term is attached [W0401]");
  expect({{{"layers.conv_1.filters", "0"}}, {}}, "--set layers.conv_1.filters: layer \"conv_1\": \"filters\" is 0");
  expect({{{"layers.conv_1.filtres", "8"}}, {}},
         "--set layers.conv_1.filtres: layer \"conv_1\": unknown key \"filtres\" [E0201]\n   help: did you mean "
         "\"filters\"?");
  expect({{{"layers.conv1.filters", "8"}}, {}},
         "--set layers.conv1.filters: \"layers\" has no \"conv1\" [E0106]\n   help: did you mean \"conv_1\"?");
  expect({{{"trian.epochs", "8"}}, {}},
         "--set trian.epochs: the file has no \"trian\" [E0106]\n   help: did you mean \"train\"?");
  expect({{{"train.optimizer.momentum.x", "8"}}, {}},
         "--set train.optimizer.momentum.x: \"train.optimizer.momentum\" has no \"x\" [E0106]");
  expect({{{"layers.8", "{}"}}, {}}, "\"layers\" has no \"8\"");
  expect({{{"", "1"}}, {}}, "--set : the file has no \"\" [E0106]");
  expect({{{"train..seed", "1"}}, {}}, "--set train..seed: \"train\" has no \"\" [E0106]");
  expect({{{"loss.terms.small.target", "{\"constnat\": 1}"}}, {}},
         "--set loss.terms.small.target: loss term \"small\": target: unknown key \"constnat\"");
  expect({{{"format", "weir/9"}}, {}}, "--set format: spec: \"format\" must be \"weir/1\"");
}

TEST_CASE("flags cannot leave something out of a file without a loss") {
  const std::string text = judged(network("{\"name\": \"y\", \"type\": \"relu\"}"), {{}, {"y"}}).to_text();
  CHECK(text.find("--exclude y: the file has no \"loss\"") != std::string::npos);
}

TEST_CASE("set changes and adds values, JSON or else a string") {
  const std::string text = wrong_specs::base();
  const Spec spec = parsed(text, {{{"layers.conv_1.filters", "64"},
                                   {"layers.conv_1.kernel_size", "[5, 3]"},
                                   {"layers.conv_1.padding", "valid"},
                                   {"layers.pool_1.strides", "1"},
                                   {"train.optimizer", "{\"type\": \"adam\", \"learning_rate\": 0.5}"},
                                   {"train.optimizer.learning_rate", "0.25"},
                                   {"loss.terms.final.weight", "0.5"},
                                   {"outputs.1", "hidden"},
                                   {"name", "seed"},
                                   {"data.train.image", "../x.npz:a"}},
                                  {}});
  CHECK(spec.name == "seed");
  CHECK(layer(spec, "conv_1").attributes.integer("filters") == 64);
  CHECK(layer(spec, "conv_1").attributes.integers("kernel_size") == Dims{5, 3});
  CHECK(layer(spec, "conv_1").attributes.word("padding") == "valid");
  CHECK(layer(spec, "pool_1").attributes.integers("strides") == Dims{1, 1});
  CHECK(spec.train->optimizer->name == "adam");
  CHECK(spec.train->optimizer_attributes.number("learning_rate") == 0.25);
  CHECK(spec.loss->terms.at(1).weight.value == 0.5);
  CHECK(spec.outputs.at(1).value == "hidden");
  CHECK(std::get<std::string>(spec.data->train->at("image").source) == "../x.npz:a");
  CHECK(spec.canonical.find("\"filters\":64") != std::string::npos);
  CHECK(layer(spec, "conv_1").places.at("filters").line == 0);
  CHECK(layer(spec, "conv_1").places.at("filters").pointer == "/layers/0/filters");
}

TEST_CASE("the canonical text gives the same specification and the same canonical text") {
  const std::string base = wrong_specs::base();
  const Spec spec = parsed(base, {{{"layers.conv_1.filters", "64"}, {"layers.drop.rate", "0.0"}}, {"small"}});
  const Spec again = parsed(spec.canonical);
  CHECK(print(again) == print(spec));
  CHECK(again.canonical == spec.canonical);
  CHECK(spec.canonical.find('\n') == std::string::npos);
}

TEST_CASE("the canonical text does not change with what means nothing") {
  const std::string base = wrong_specs::base();
  const std::string other =
      "// a comment\n" + wrong_specs::replaced(base, "\"name\": \"base\"",
                                               "\"$comment\": \"b\", \"name\"  :\t\"ba\\u0073e\", \"x-tool\": 1");
  CHECK(parsed(other).canonical == parsed(base).canonical);
  CHECK(parsed(base, {{{"train.seed", "8"}}, {}}).canonical != parsed(base).canonical);
}

TEST_CASE("the hash of a specification is FNV-1a in 64 bits") {
  CHECK(spec_hash("") == "cbf29ce484222325");
  CHECK(spec_hash("a") == "af63dc4c8601ec8c");
  CHECK(spec_hash("foobar") == "85944171f73967e8");
}

TEST_CASE("nothing left to train is an error only for those who train") {
  const std::string text = wrong_specs::replaced(wrong_specs::base(), "[\"classes\"]",
                                                 "[\"small\", \"output\", \"sum\", \"logits\", \"flat\"]");
  CHECK(judged(text).error_count() == 1);
  CHECK(judged(text, {{}, {}, false}).error_count() == 0);
}

TEST_CASE("nodes that play different roles are bound by name and come in the op's order") {
  const OpDef attention{.name = "attention",
                        .summary = "",
                        .equation = "",
                        .operands = {{"query"}, {"value"}, {"key", OperandKind::value, true}}};
  Diagnostics diagnostics;
  Reading reading(diagnostics, {});
  Spec spec;
  Sections sections{reading, spec};
  for (const char* name : {"a", "b", "c"}) {
    sections.names.declare(reading, name, {}, Names::Kind::input, spec.inputs.size());
    spec.inputs.push_back({name, {}, DType::f32, {}});
  }
  const auto roles = [&](const std::string& text) {
    LayerSpec one;
    one.from = read_from(sections, "layer \"y\"", &attention, document(text));
    return sources(one);
  };
  CHECK(roles("{\"value\": \"b\", \"query\": \"a\", \"x-tool\": 1}") == "a b ");
  CHECK(roles("{\"key\": \"c\", \"value\": \"b\", \"query\": \"a\"}") == "a b c");
  CHECK(diagnostics.all().empty());
  roles("[\"a\", \"b\"]");
  CHECK(diagnostics.all().back().code == "E0305");
  CHECK(diagnostics.all().back().help == "such as {\"query\": \"…\", \"value\": \"…\", \"key\": \"…\"}");
  roles("{\"query\": \"a\"}");
  CHECK(diagnostics.all().back().message == "layer \"y\": \"from\" needs \"value\"");
  roles("{\"query\": \"a\", \"value\": \"b\", \"keys\": \"c\"}");
  CHECK(diagnostics.all().back().message == "layer \"y\": \"from\" has no role \"keys\"");
  CHECK(diagnostics.all().back().help == "did you mean \"key\"?");
}
