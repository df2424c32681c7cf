// weir explain drawn: which lines, bars and marks the picture has, that it is XML, and that nothing stands on another.
#include "compiler/cli/explain_drawing.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "compiler/passes/passes.hpp"
#include "tests/command_line.hpp"
#include "tests/models.hpp"
#include "tests/svg_elements.hpp"

using namespace weir;
using weir::cli::Diagram;
using weir::cli::DiagramNode;

namespace {

struct Picture {
  Explanation explanation;
  std::string svg;
  std::vector<Tag> tags;

  /// Of the elements of a class: the attributes asked for, with a blank between.
  std::set<std::string> of(const std::string& kind, const std::vector<std::string>& keys) const {
    std::set<std::string> found;
    for (const Tag& tag : tags) {
      const auto is = tag.attributes.find("class");
      if (is == tag.attributes.end() || is->second != kind) continue;
      std::string text;
      for (const std::string& key : keys) text += (text.empty() ? "" : " ") + tag.attributes.at(key);
      found.insert(text);
    }
    return found;
  }
};

Picture picture_of(const std::string& text, const ExplainFilter& filter = {}) {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(text, "drawn", diagnostics);
  Picture picture{filtered(explain(spec, diagnostics), filter), {}, {}};
  REQUIRE_MESSAGE(!diagnostics.has_errors(), diagnostics.to_text());
  const Graph graph = build_graph(spec, Mode::training, diagnostics);
  picture.svg = cli::explain_svg(cli::make_diagram(spec, graph, picture.explanation), picture.explanation, {});
  picture.tags = elements(picture.svg);
  return picture;
}

const std::string cuts = R"({"format": "weir/1", "name": "cuts", "inputs": {"x": {"shape": [4]}, "y": {"shape": [2]}},
  "layers": [{"name": "a", "type": "dense", "units": 3, "from": "x"},
             {"name": "b", "type": "dense", "units": 3, "activation": "tanh"},
             {"name": "c", "type": "dense", "units": 3},
             {"name": "d", "type": "dense", "units": 2, "activation": "softmax"},
             {"name": "e", "type": "dense", "units": 2, "from": "b", "stop_gradient": true},
             {"name": "f", "type": "dense", "units": 2}],
  "loss": {"terms": {
    "cut": {"type": "categorical_crossentropy", "at": "d", "target": {"input": "y"}, "stop_at": ["b"]},
    "skips": {"type": "mean_squared_error", "at": "d", "target": {"input": "y"}, "skip": ["b"]},
    "late": {"type": "mean_squared_error", "at": "f", "target": {"input": "y"}},
    "gone": {"type": "mean_squared_error", "at": "b", "target": {"constant": 0}},
    "seen": {"type": "mean_absolute_error", "at": "c", "target": {"constant": 0}, "weight": 0}},
    "exclude": ["gone"]}})";

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("a term has a line along every edge that its gradient takes, none behind a cut, and a bar there") {
  const Picture picture = picture_of(cuts);
  CHECK(picture.of("gradient", {"data-term", "data-from", "data-to"}) ==
        Names{"cut cut d", "cut d c", "skips skips d", "skips d c", "skips c b", "skips b a", "late late f"});
  CHECK(picture.of("cut", {"data-term", "data-at"}) == Names{"cut b"});
  CHECK(picture.of("stop", {"data-at"}) == Names{"e"});
}

TEST_CASE("parameters carry the terms that train them, and grey ones say why none does") {
  const Picture picture = picture_of(cuts);
  const Names trained = picture.of("parameter", {"data-name", "data-trained-by"});
  CHECK(trained == Names{"a.kernel skips", "a.bias skips", "b.kernel ", "b.bias ", "c.kernel cut skips",
                         "c.bias cut skips", "d.kernel cut skips", "d.bias cut skips", "e.kernel ", "e.bias ",
                         "f.kernel late", "f.bias late"});
  CHECK(picture.svg.find("b.kernel [3, 3]: trained by no loss: ") != std::string::npos);
  CHECK(picture.svg.find("skips: skip: layer b") != std::string::npos);
  CHECK(picture.svg.find("late: stops at e (stop_gradient of the layer)") != std::string::npos);
}

TEST_CASE("excluded and watched terms are there, pale, and send nothing") {
  const Picture picture = picture_of(cuts);
  std::map<std::string, bool> pale;
  for (const Tag& tag : picture.tags)
    if (tag.name == "g" && tag.attributes.contains("data-name") && tag.attributes.at("class") == "node")
      pale[tag.attributes.at("data-name")] = tag.attributes.contains("opacity");
  CHECK(pale.size() == 2 + 6 + 5);
  for (const auto& each : pale)
    CHECK_MESSAGE(each.second == (each.first == "gone" || each.first == "seen"), each.first);
  CHECK(picture.svg.find("1 (excluded by gone)") != std::string::npos);
}

TEST_CASE("every example model is drawn with the lines that its explanation has") {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/models")) {
    if (entry.path().extension() != ".json") continue;
    INFO(entry.path().string());
    const Picture picture = picture_of(read_file("models/" + entry.path().filename().string()));
    const Names hear = picture.of("gradient", {"data-term", "data-to"});
    for (const TermExplanation& term : picture.explanation.terms)
      for (const std::string& layer : term.route.layers) {
        const auto& through = term.route.through;
        const bool hears =
            term.role == TermRole::trained && std::find(through.begin(), through.end(), layer) != through.end();
        CHECK_MESSAGE(hear.contains(term.name + " " + layer) == hears, (term.name + " and " + layer));
      }
    for (const ParameterExplanation& parameter : picture.explanation.parameters)
      CHECK(picture.svg.find("data-name=\"" + parameter.name + "\"") != std::string::npos);
    ++models;
  }
  CHECK(models > 3);
}

TEST_CASE("a filter leaves one term, or the parameters of one layer") {
  const Picture one = picture_of(cuts, {"skips", "a"});
  CHECK(one.of("gradient", {"data-term"}) == Names{"skips"});
  CHECK(one.of("parameter", {"data-name"}) == Names{"a.kernel", "a.bias"});
  CHECK(one.of("cut", {"data-term"}).empty());
}

TEST_CASE("a target that learns has its lines too, and terms beyond the palette are dashed") {
  std::string terms;
  for (int i = 0; i < 8; ++i)
    terms += fmt::format(
        R"({}"t{}": {{"type": "mean_squared_error", "at": "b", "target": {{"node": "a", "gradient": {}}}}})",
        i ? ", " : "", i, i == 7);
  const Picture picture = picture_of(R"({"format": "weir/1", "inputs": {"x": {"shape": [4]}}, "layers": [
    {"name": "a", "type": "dense", "units": 3, "from": "x"}, {"name": "b", "type": "dense", "units": 3, "from": "x"}],
    "loss": {"terms": {)" + terms + "}}}");
  const Names lines = picture.of("gradient", {"data-term", "data-to"});
  CHECK(lines.size() == 9);
  CHECK(lines.contains("t7 a"));
  std::set<std::string> pens;
  for (const Tag& tag : picture.tags)
    if (tag.attributes.contains("class") && tag.attributes.at("class") == "gradient") {
      const auto dash = tag.attributes.find("stroke-dasharray");
      pens.insert(tag.attributes.at("stroke") + (dash == tag.attributes.end() ? "" : dash->second));
    }
  CHECK(pens.size() == 8);
}

TEST_CASE("names that XML could take for its own are escaped") {
  const std::string odd = "a<b & \"c\">";
  Explanation explanation;
  TermExplanation term;
  term.name = "t" + odd;
  term.type = term.at = odd;
  term.route.passages = {{odd, term.name}};
  term.route.cuts = {{{odd, term.name}, true}};
  explanation.terms = {term};
  explanation.parameters = {{odd + ".w", odd, {3}, {{term.name, Influence::trained}}, {{term.name, odd}}, true, odd}};
  Diagram diagram{
      odd, {{DiagramNode::Kind::layer, odd, {odd}}, {DiagramNode::Kind::trained_term, term.name, {odd}}}, {}};
  diagram.nodes[0].stops = true;
  diagram.edges = {{0, 1, odd, odd}};
  Picture picture{explanation, cli::explain_svg(diagram, explanation, {}), {}};
  picture.tags = elements(picture.svg);
  CHECK(picture.of("gradient", {"data-term", "data-to"}) == Names{term.name + " " + odd});
  CHECK(picture.of("cut", {"data-at"}) == Names{odd});
  CHECK(picture.of("parameter", {"data-trained-by"}) == Names{term.name});
  CHECK_NOTHROW(elements(cli::to_svg(diagram)));
  CHECK_THROWS(elements("<a b=\"<\"/>"));
  CHECK_THROWS(elements("<a>&b;</a>"));
}

TEST_CASE("boxes stand apart, and long lines pass beside them") {
  for (std::uint32_t seed = 1; seed < 60; ++seed) {
    std::uint32_t state = seed;
    const auto dice = [&](std::size_t below) { return (state = state * 1664525u + 1013904223u) / 65536 % below; };
    std::vector<cli::LayoutBox> boxes;
    std::vector<cli::LayoutEdge> edges;
    for (std::size_t i = 0; i < 3 + seed % 58; ++i) {
      boxes.push_back({static_cast<double>(80 + dice(200)), static_cast<double>(40 + dice(60))});
      for (std::size_t from = i > 0 ? 1 + dice(3) : 0; from > 0; --from)
        edges.push_back({dice(i), i, static_cast<double>(8 + dice(30))});
    }
    const cli::Layout layout = cli::layered_layout(boxes, edges);
    INFO("seed " << seed);
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const cli::PlacedBox& a = layout.boxes[i];
      CHECK((a.width >= boxes[i].width && a.height == boxes[i].height));
      CHECK((a.x >= 0 && a.x + a.width <= layout.width + 1e-6 && a.y + a.height <= layout.height + 1e-6));
      for (std::size_t j = 0; j < i; ++j) {
        const cli::PlacedBox& b = layout.boxes[j];
        const bool apart = a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y;
        CHECK_MESSAGE(apart, i << " stands on " << j);
      }
      for (std::size_t e = 0; e < edges.size(); ++e) {
        CHECK(layout.edges[e].front().y == layout.boxes[edges[e].from].y + layout.boxes[edges[e].from].height);
        CHECK(layout.edges[e].back().y == layout.boxes[edges[e].to].y);
        for (std::size_t p = 1; p < layout.edges[e].size(); ++p) {
          const cli::Point from = layout.edges[e][p - 1], to = layout.edges[e][p];
          const bool upright = from.x == to.x, beside = from.x <= a.x || from.x >= a.x + a.width,
                     clear = to.y <= a.y || from.y >= a.y + a.height;
          CHECK_MESSAGE(((upright && beside) || clear), "edge " << e << " runs over " << i);
        }
      }
    }
  }
}

TEST_CASE("explain --as svg draws what the table says, and refuses what a picture cannot say") {
  using namespace weir::command_line;
  const Workspace work;
  const Outcome drawn = run({"explain", work.model(), "--as", "svg", "--threads", "1"});
  REQUIRE_MESSAGE(drawn.code == 0, drawn.err);
  CHECK(drawn.out.starts_with("<svg"));
  CHECK_NOTHROW(elements(drawn.out));
  CHECK(drawn.prints("FLOPs saved without it"));
  CHECK(run({"explain", work.model(), "--as", "svg", "--term", "tame"}).out.find("data-term=\"final\"") ==
        std::string::npos);
  CHECK(run({"explain", work.model(), "--as", "svg", "--exclude", "final"}).prints("1 (excluded by final)"));
  CHECK(json::parse(run({"explain", work.model(), "--as", "svg", "--json"}).out)["as"] == "svg");
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--node", "hidden"}, {"--without", "final"}}) {
    const Outcome refused = run({"explain", work.model(), "--as", "svg", more[0], more[1]});
    CHECK(refused.code == 2);
    CHECK(refused.says(more[0] + " with --as svg"));
    CHECK(refused.out.empty());
  }
  CHECK(run({"explain", "W0402", "--as", "svg"}).code == 2);
  CHECK(run({"explain", work.model(), "--as", "dot"}).says("--as dot: expected one of table, svg"));
}
