#include "compiler/diagnostic.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/diagnostic_codes.hpp"

using namespace weir;

namespace {

const char* const source = "{\n  \"exclude\": [\"conv_1\"],\n\t\"größe\": 3\n}\n";

/// Codes that the sources of the compiler spell, except the list of all codes.
std::set<std::string> codes_in_sources() {
  std::set<std::string> codes;
  const std::regex code("\"([EW][0-9]{4})\"");
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::filesystem::path(WEIR_SOURCE_DIR) / "compiler")) {
    if (entry.path().extension() != ".cpp" || entry.path().stem() == "diagnostic_codes") continue;
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    for (auto match = std::sregex_iterator(text.begin(), text.end(), code); match != std::sregex_iterator(); ++match)
      codes.insert((*match)[1]);
  }
  return codes;
}

}  // namespace

TEST_CASE("a diagnostic prints its place, the source line, a caret, notes and help") {
  Diagnostics diagnostics("digits.weir.json", source);
  Diagnostic& error = diagnostics.error("E0405", {2, 15, 8, "/exclude/0"}, "unknown layer \"conv_1\"");
  error.notes.push_back("layers: conv1, code");
  error.help = "did you mean \"conv1\"?";
  CHECK(diagnostics.to_text() ==
        "digits.weir.json:2:15: error: unknown layer \"conv_1\" [E0405]\n"
        "    2 |   \"exclude\": [\"conv_1\"],\n"
        "      |               ^~~~~~~~\n"
        "   note: layers: conv1, code\n"
        "   help: did you mean \"conv1\"?\n"
        "1 error, nothing was written. More on a code: weir explain E0405\n");
}

TEST_CASE("diagnostics are printed in the order of the file, those without a place first") {
  Diagnostics diagnostics("f", source);
  diagnostics.error("E0203", {3, 11, 1, ""}, "third");
  diagnostics.warning("W0301", {2, 3, 9, ""}, "second");
  diagnostics.error("E0106", {}, "first");
  const std::string text = diagnostics.to_text();
  CHECK(text.find("f: error: first [E0106]\n") == 0);
  CHECK(text.find("first") < text.find("f:2:3: warning: second"));
  CHECK(text.find("second") < text.find("f:3:11: error: third"));
  CHECK(text.ends_with("2 errors and 1 warning, nothing was written. More on a code: weir explain E0203\n"));
}

TEST_CASE("columns and carets count characters, and a tab is one of them") {
  Diagnostics diagnostics("f", source);
  diagnostics.error("E0203", {3, 11, 1, ""}, "here");
  CHECK(diagnostics.to_text().find("    3 |  \"größe\": 3\n      |           ^\n") != std::string::npos);
}

TEST_CASE("warnings alone say that nothing failed") {
  Diagnostics diagnostics("f", source);
  diagnostics.warning("W0301", {2, 3, 1, ""}, "unused");
  CHECK_FALSE(diagnostics.has_errors());
  CHECK(diagnostics.to_text().ends_with("\n1 warning. More on a code: weir explain W0301\n"));
}

TEST_CASE("no diagnostics print nothing") {
  CHECK(Diagnostics("f", source).to_text().empty());
  CHECK(Diagnostics("f", source).to_json_lines().empty());
}

TEST_CASE("warnings beyond the limit are counted") {
  Diagnostics diagnostics("f", source);
  for (int i = 0; i < 21; ++i) diagnostics.warning("W0301", {1, 1, 1, ""}, "doubt " + std::to_string(i));
  const std::string text = diagnostics.to_text(20);
  CHECK(text.find("doubt 19") != std::string::npos);
  CHECK(text.find("doubt 20") == std::string::npos);
  CHECK(text.find("… and 1 warning more\n21 warnings. More") != std::string::npos);
}

TEST_CASE("errors beyond the limit are counted") {
  Diagnostics diagnostics("f", source);
  for (int i = 0; i < 25; ++i) diagnostics.error("E0203", {1, 1, 1, ""}, "mistake " + std::to_string(i));
  const std::string text = diagnostics.to_text(20);
  CHECK(text.find("mistake 19") != std::string::npos);
  CHECK(text.find("mistake 20") == std::string::npos);
  CHECK(text.find("… and 5 errors more\n25 errors, nothing was written.") != std::string::npos);
}

TEST_CASE("of a long line the part around the place is shown") {
  const std::string line = std::string(500, 'a') + "!" + std::string(500, 'b');
  Diagnostics diagnostics("f", line);
  diagnostics.error("E0101", {1, 501, 400, ""}, "here");
  const std::string text = diagnostics.to_text();
  const auto lines = [&](int n) {
    std::size_t at = 0;
    while (n-- > 0) at = text.find('\n', at) + 1;
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(lines(1).find("…aaa") != std::string::npos);
  CHECK(lines(1).size() < 200);
  const std::string before = lines(1).substr(0, lines(1).find('!'));
  CHECK(lines(2).find('^') == before.size() - 2);  // "…" is three bytes and one column
}

TEST_CASE("what a terminal would obey is not printed") {
  Diagnostics diagnostics("f", "\x1b[31m \xff \xc2\x9b");
  diagnostics.error("E0102", {1, 1, 1, ""}, "here");
  const std::string text = diagnostics.to_text();
  CHECK(text.find("    1 | ?[31m ? ?\n") != std::string::npos);
}

TEST_CASE("a place behind the end of the text is printed without failing") {
  Diagnostics diagnostics("f", "a");
  diagnostics.error("E0101", {7, 9, 3, ""}, "far");
  CHECK(diagnostics.to_text().find("f:7:9: error: far") == 0);
}

TEST_CASE("json lines hold what the text holds") {
  Diagnostics diagnostics("f\xff", source);
  diagnostics.error("E0405", {2, 15, 8, "/exclude/0"}, "unknown \"x\"").notes = {"a", "b"};
  diagnostics.warning("W0301", {}, "unused").help = "do it";
  const std::string text = diagnostics.to_json_lines();
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  const auto second = nlohmann::json::parse(text.substr(text.find('\n') + 1));
  CHECK(first.at("severity") == "warning");
  CHECK(first.at("span").is_null());
  CHECK(first.at("help") == "do it");
  CHECK(second.at("code") == "E0405");
  CHECK(second.at("message") == "unknown \"x\"");
  CHECK(second.at("pointer") == "/exclude/0");
  CHECK(second.at("span") == nlohmann::json{{"line", 2}, {"col", 15}, {"endLine", 2}, {"endCol", 23}});
  CHECK(second.at("notes").size() == 2);
}

TEST_CASE("the nearest word is at most a third of the letters away, and a swap counts one") {
  CHECK(nearest("filtres", {"filters", "kernel_size"}) == "filters");
  CHECK(nearest("uints", {"units"}) == "units");
  CHECK(nearest("ab", {"ac"}).empty());
  CHECK(nearest("ReLU", {"relu6", "relu"}) == "relu");
  CHECK(nearest("abc", {"abd"}) == "abd");
  CHECK(nearest("abc", {"ade"}).empty());
  CHECK(nearest("abc", {}).empty());
  CHECK(nearest("", {"a"}).empty());
  CHECK(nearest("dense", {"dense_1", "dense"}) == "dense");
  CHECK(nearest("MaxPooling2D", {"max_pooling2d", "average_pooling2d"}) == "max_pooling2d");
}

TEST_CASE("valid UTF-8 sequences are told from invalid ones") {
  CHECK(utf8_sequence("a", 0) == 1);
  CHECK(utf8_sequence("ß", 0) == 2);
  CHECK(utf8_sequence("∞", 0) == 3);
  CHECK(utf8_sequence("😀", 0) == 4);
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xff"})
    CHECK(utf8_sequence(bad, 0) == 0);
  CHECK(utf8_sequence("a", 1) == 0);
}

TEST_CASE("every code in the sources has an article, and every article a code in the sources") {
  std::set<std::string> listed;
  for (const DiagnosticCode& code : diagnostic_codes()) listed.insert(std::string(code.code));
  CHECK(listed.size() == diagnostic_codes().size());
  CHECK(listed == codes_in_sources());
}

TEST_CASE("codes are sorted, and articles are a few sentences") {
  for (std::size_t i = 0; i < diagnostic_codes().size(); ++i) {
    const DiagnosticCode& code = diagnostic_codes()[i];
    CAPTURE(code.code);
    CHECK((i == 0 || diagnostic_codes()[i - 1].code < code.code));
    CHECK(!code.title.empty());
    CHECK(code.article.size() > 60);
    CHECK(code.article.ends_with('.'));
  }
}

TEST_CASE("a code is found in capital and in small letters") {
  REQUIRE(find_diagnostic_code("E0203"));
  CHECK(find_diagnostic_code("e0203") == find_diagnostic_code("E0203"));
  CHECK(find_diagnostic_code("E9999") == nullptr);
  CHECK(find_diagnostic_code("") == nullptr);
}
