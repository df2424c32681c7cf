// Keeps the layers apart: who may include whom, which library is known where, how long a file may be.
// Every rule is a row or a short function; what breaks one is reported as file:line with the line itself.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace fs = std::filesystem;

namespace {

constexpr size_t longest_file = 600;
constexpr size_t longest_line = 120;

struct Include {
  size_t line;
  std::string header;  ///< as written between the quotes or brackets
};

struct Source {
  std::string path;  ///< relative to the root, with slashes
  std::vector<std::string> lines;
  std::vector<Include> includes;
};

using Sources = std::map<std::string, Source>;
using Findings = std::vector<std::string>;

/// A folder or file stem of ours, and the beginnings of what it may include of ours and, of that, may not. The first
/// row that fits decides.
struct Layer {
  std::string path;
  std::vector<std::string> may_include;
  std::vector<std::string> but_not = {"runtime/onednn/"};
};

const std::vector<Layer> layers{
    {"runtime/", {"runtime/"}, {}},
    {"compiler/diagnostic.", {"compiler/diagnostic.", "runtime/"}},
    {"compiler/ir/", {"compiler/ir/", "compiler/diagnostic.", "runtime/"}},
    {"compiler/ops/", {"compiler/ops/", "compiler/ir/", "compiler/diagnostic.", "runtime/"}},
    {"compiler/spec/", {"compiler/spec/", "compiler/ir/", "compiler/diagnostic.", "runtime/"}},
    {"compiler/passes/", {"compiler/passes/", "compiler/spec/", "compiler/ir/", "compiler/diagnostic.", "runtime/"}},
    {"compiler/interpret/", {"compiler/interpret/", "compiler/ir/", "compiler/diagnostic.", "runtime/"}},
    {"compiler/cli/", {"compiler/", "runtime/"}},
    {"compiler/", {"compiler/", "runtime/"}, {"compiler/cli/", "runtime/onednn/"}},
};

/// A library, by the beginning of its headers' names, and the only places that may include it directly.
struct Library {
  std::string header;
  std::vector<std::string> places;
};

const std::vector<Library> libraries{
    {"dnnl", {"runtime/onednn/"}},
    {"oneapi/", {"runtime/onednn/"}},
    {"omp.h", {"runtime/onednn/"}},
    {"CLI/", {"compiler/cli/", "bench/"}},
    {"doctest/", {"tests/"}},
    {"zip.h", {"runtime/data/", "runtime/formats/", "tests/"}},
    {"zlib.h", {"runtime/data/", "runtime/formats/", "tests/"}},
};

/// What embedders include, and what their compilers must therefore never need.
const std::vector<std::string> public_headers{"compiler/compile.hpp", "runtime/session.hpp"};
const std::vector<std::string> private_libraries{"nlohmann/", "CLI/",  "fmt/",  "dnnl",
                                                 "oneapi/",   "omp.h", "zip.h", "zlib.h"};

bool starts_with_any(const std::string& text, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const auto& b) { return text.starts_with(b); });
}

/// The rest of a line such as `  # include <x>` behind `#` and the word, without leading spaces; nothing for other
/// lines.
std::optional<std::string> directive(const std::string& line, const std::string& word) {
  const auto skip_spaces = [&](size_t at) { return std::min(line.find_first_not_of(" \t", at), line.size()); };
  const size_t hash = skip_spaces(0);
  if (hash == line.size() || line[hash] != '#') return std::nullopt;
  const size_t begin = skip_spaces(hash + 1);
  if (line.compare(begin, word.size(), word) != 0) return std::nullopt;
  return line.substr(skip_spaces(begin + word.size()));
}

Source make_source(const std::string& path, std::istream& text) {
  Source source{path, {}, {}};
  for (std::string line; std::getline(text, line);) {
    source.lines.push_back(line);
    const auto header = directive(line, "include");
    if (header && header->size() > 1)
      source.includes.push_back({source.lines.size(), header->substr(1, header->find_first_of("\">", 1) - 1)});
  }
  return source;
}

Sources read_sources() {
  Sources sources;
  const fs::path root = WEIR_SOURCE_DIR;
  for (const char* folder : {"compiler", "runtime", "tests", "examples", "bench"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".hpp" && extension != ".h") continue;
      const std::string path = entry.path().lexically_relative(root).generic_string();
      std::ifstream file(entry.path());
      sources.emplace(path, make_source(path, file));
    }
  }
  return sources;
}

std::string place(const Source& source, size_t line) {
  return source.path + ":" + std::to_string(line) + ": " + source.lines.at(line - 1);
}

const Layer* layer_of(const std::string& path) {
  const auto found =
      std::find_if(layers.begin(), layers.end(), [&](const Layer& l) { return path.starts_with(l.path); });
  return found == layers.end() ? nullptr : &*found;
}

bool allowed(const Layer& layer, const std::string& header) {
  if (!starts_with_any(header, {"compiler/", "runtime/"})) return true;
  return starts_with_any(header, layer.may_include) && !starts_with_any(header, layer.but_not);
}

Findings includes_against_the_layers(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources) {
    const Layer* layer = layer_of(path);
    for (const Include& include : source.includes)
      if (layer && !allowed(*layer, include.header)) findings.push_back(place(source, include.line));
  }
  return findings;
}

Findings libraries_out_of_place(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources)
    for (const Include& include : source.includes)
      for (const Library& library : libraries)
        if (include.header.starts_with(library.header) && !starts_with_any(path, library.places))
          findings.push_back(place(source, include.line));
  return findings;
}

/// Walks from `path` through our own headers and reports each include of `unwanted`, with the way to it.
void find_reached(const Sources& sources, const std::string& path, const std::vector<std::string>& unwanted,
                  const std::string& way, std::set<std::string>& seen, Findings& findings) {
  const auto found = sources.find(path);
  if (found == sources.end() || !seen.insert(path).second) return;
  for (const Include& include : found->second.includes) {
    if (starts_with_any(include.header, unwanted)) findings.push_back(way + place(found->second, include.line));
    find_reached(sources, include.header, unwanted, way + path + " > ", seen, findings);
  }
}

Findings libraries_reached_from_public_headers(const Sources& sources) {
  Findings findings;
  std::set<std::string> seen;
  for (const std::string& header : public_headers) find_reached(sources, header, private_libraries, "", seen, findings);
  return findings;
}

/// oneDNN's headers must not leak through a header of runtime/onednn either.
Findings onednn_reached_from_elsewhere(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources) {
    if (path.starts_with("runtime/onednn/") || path.starts_with("tests/")) continue;
    std::set<std::string> seen;
    find_reached(sources, path, {"dnnl", "oneapi/"}, "", seen, findings);
  }
  return findings;
}

std::string without_comment(const std::string& line) { return line.substr(0, line.find("//")); }

/// Whether the record named like the file, its last one, is of an op that users cannot write.
bool holds_internal_op(const Source& source, const std::string& name) {
  const auto line_with = [&](auto from, const std::string& text) {
    return std::find_if(from, source.lines.end(),
                        [&](const auto& line) { return line.find(text) != std::string::npos; });
  };
  return line_with(line_with(source.lines.begin(), "OpDef " + name + "{"), "Role::internal") != source.lines.end();
}

/// Names of ops that users can write, in quotes. Passes read their records; what only passes write is theirs to name.
std::set<std::string> quoted_op_names(const Sources& sources) {
  std::set<std::string> names;
  for (const auto& [path, source] : sources) {
    const std::string name = fs::path(path).stem().string();
    if (path.starts_with("compiler/ops/") && path.ends_with(".cpp") && !holds_internal_op(source, name))
      names.insert('"' + name + '"');
  }
  return names;
}

/// Passes, graph and runtime speak of ops by their records or kernels. Kernels have words of their own, some of them
/// the same.
bool may_name_ops(const std::string& path) {
  return !starts_with_any(path, {"compiler/passes/", "compiler/ir/", "runtime/"}) ||
         starts_with_any(path, {"runtime/kernels/", "runtime/onednn/", "runtime/expression."});
}

Findings op_names_spelled(const Sources& sources) {
  const std::set<std::string> names = quoted_op_names(sources);
  const std::set<std::string> other_meaning_in_runtime{"\"value\"", "\"mean\"", "\"exponential\""};
  Findings findings;
  for (const auto& [path, source] : sources) {
    if (may_name_ops(path)) continue;
    for (size_t i = 0; i < source.lines.size(); ++i)
      for (const std::string& name : names) {
        const bool other = path.starts_with("runtime/") && other_meaning_in_runtime.contains(name);
        if (!other && without_comment(source.lines[i]).find(name) != std::string::npos)
          findings.push_back(place(source, i + 1));
      }
  }
  return findings;
}

/// Compiled without OpenMP's threads (see CMakeLists.txt), such a pragma would silently run on one.
/// runtime/parallel.hpp is the way.
Findings parallel_pragmas(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources) {
    for (size_t i = 0; i < source.lines.size(); ++i) {
      const auto pragma = directive(source.lines[i], "pragma");
      if (pragma && pragma->starts_with("omp ") && !starts_with_any(*pragma, {"omp simd", "omp declare simd"}))
        findings.push_back(place(source, i + 1));
    }
  }
  return findings;
}

/// Columns, not bytes: a letter of several bytes counts once.
size_t columns(const std::string& line) {
  return static_cast<size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

Findings too_long(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources) {
    if (source.lines.size() > longest_file)
      findings.push_back(path + ": " + std::to_string(source.lines.size()) + " lines");
    for (size_t i = 0; i < source.lines.size(); ++i)
      if (columns(source.lines[i]) > longest_line) findings.push_back(place(source, i + 1));
  }
  return findings;
}

Findings headers_without_guard(const Sources& sources) {
  Findings findings;
  for (const auto& [path, source] : sources) {
    const auto& lines = source.lines;
    const bool guarded = std::any_of(lines.begin(), lines.end(), [](const auto& l) {
      return l.starts_with("#pragma once") || l.starts_with("#ifndef ");
    });
    if (!path.ends_with(".cpp") && !guarded) findings.push_back(path + ": no #pragma once");
  }
  return findings;
}

void expect_none(const Findings& findings) {
  for (const std::string& finding : findings) FAIL_CHECK(finding);
}

using Rule = std::function<Findings(const Sources&)>;

/// What a rule finds in made-up files: path and text.
size_t count(const Rule& rule, const std::vector<std::pair<std::string, std::string>>& files) {
  Sources sources;
  for (const auto& [path, text] : files) {
    std::istringstream stream(text);
    sources.emplace(path, make_source(path, stream));
  }
  return rule(sources).size();
}

}  // namespace

TEST_CASE("every layer includes only what stands below it") {
  expect_none(includes_against_the_layers(read_sources()));
}

TEST_CASE("every library is included only where it belongs") { expect_none(libraries_out_of_place(read_sources())); }

TEST_CASE("public headers need no library") {
  const Sources sources = read_sources();
  for (const std::string& header : public_headers) CHECK_MESSAGE(sources.contains(header), header);
  expect_none(libraries_reached_from_public_headers(sources));
}

TEST_CASE("oneDNN is seen from runtime/onednn alone") { expect_none(onednn_reached_from_elsewhere(read_sources())); }

TEST_CASE("passes, graph and runtime know no op by name") { expect_none(op_names_spelled(read_sources())); }

TEST_CASE("no pragma starts a parallel region") { expect_none(parallel_pragmas(read_sources())); }

TEST_CASE("files have at most 600 lines, lines at most 120 columns") { expect_none(too_long(read_sources())); }

TEST_CASE("headers are guarded") { expect_none(headers_without_guard(read_sources())); }

TEST_CASE("the scan sees the sources of every layer") {
  const Sources sources = read_sources();
  for (const Layer& layer : layers)
    CHECK_MESSAGE(
        std::any_of(sources.begin(), sources.end(), [&](const auto& entry) { return layer_of(entry.first) == &layer; }),
        layer.path);
}

TEST_CASE("the scan finds what breaks a rule") {
  CHECK(count(includes_against_the_layers, {{"runtime/plan.cpp", "\n#include \"compiler/ir/graph.hpp\"\n"}}) == 1);
  CHECK(count(includes_against_the_layers, {{"compiler/ops/relu.cpp", "#include \"compiler/passes/passes.hpp\""}}) ==
        1);
  CHECK(count(includes_against_the_layers, {{"compiler/passes/lower.cpp", "#include \"compiler/ops/relu.hpp\""}}) == 1);
  CHECK(count(includes_against_the_layers, {{"compiler/compile.cpp", "#include \"compiler/cli/train.hpp\""}}) == 1);
  CHECK(count(includes_against_the_layers, {{"compiler/passes/lower.cpp", "#include \"runtime/onednn/engine.hpp\""}}) ==
        1);
  CHECK(count(includes_against_the_layers, {{"compiler/cli/train.cpp", "#include \"compiler/compile.hpp\""}}) == 0);
  CHECK(count(libraries_out_of_place, {{"runtime/session.cpp", "  #  include <dnnl.hpp>"}}) == 1);
  CHECK(count(libraries_out_of_place, {{"runtime/onednn/engine.cpp", "#include <oneapi/dnnl/dnnl.hpp>"}}) == 0);
  CHECK(count(libraries_reached_from_public_headers, {{"runtime/session.hpp", "#include \"runtime/plan.hpp\""},
                                                      {"runtime/plan.hpp", "#include <nlohmann/json.hpp>"}}) == 1);
  CHECK(count(onednn_reached_from_elsewhere, {{"compiler/compile.cpp", "#include \"runtime/onednn/engine.hpp\""},
                                              {"runtime/onednn/engine.hpp", "#include <dnnl.hpp>"}}) == 1);
  CHECK(count(op_names_spelled, {{"compiler/ops/conv2d.cpp", ""}, {"compiler/passes/lower.cpp", "op == \"conv2d\""}}) ==
        1);
  CHECK(count(op_names_spelled, {{"compiler/ops/conv2d.cpp", ""}, {"compiler/passes/lower.cpp", "\"conv2d_x\""}}) == 0);
  CHECK(count(op_names_spelled, {{"compiler/ops/one_hot.cpp", "const OpDef one_hot{\n.role = Role::internal"},
                                 {"compiler/passes/measure.cpp", "structural_op(\"one_hot\")"}}) == 0);
  CHECK(count(parallel_pragmas, {{"runtime/kernels/sgd.cpp", "#pragma omp parallel for"}}) == 1);
  CHECK(count(parallel_pragmas, {{"runtime/kernels/sgd.cpp", "#pragma omp simd"}}) == 0);
  CHECK(count(too_long, {{"runtime/a.cpp", std::string(longest_line + 1, 'x')}}) == 1);
  CHECK(count(too_long, {{"runtime/a.cpp", std::string(longest_file + 1, '\n')}}) == 1);
  CHECK(count(headers_without_guard, {{"runtime/a.hpp", "int x;"}}) == 1);
}
