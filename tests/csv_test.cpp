#include "runtime/data/csv.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "tests/message_of.hpp"

using namespace weir;

namespace {

SourceArray read(const std::string& text, std::vector<std::string> columns = {}) {
  std::istringstream stream(text);
  return read_array(stream, "x.csv", {"", std::move(columns)});
}

std::vector<double> doubles(const SourceArray& array) {
  REQUIRE(array.type == SourceType::f64);
  return {array.data<double>(), array.data<double>() + array.bytes.size() / 8};
}

std::vector<std::int64_t> integers(const SourceArray& array) {
  REQUIRE(array.type == SourceType::i64);
  return {array.data<std::int64_t>(), array.data<std::int64_t>() + array.bytes.size() / 8};
}

bool fails(const std::string& text, const std::string& part, std::vector<std::string> columns = {}) {
  const std::string message = message_of([&] { read(text, std::move(columns)); });
  CAPTURE(message);
  CHECK(message.find(part) != std::string::npos);
  return message.starts_with("x.csv:");
}

}  // namespace

TEST_CASE("columns are taken by name and in the order asked for") {
  const std::string text = "age,name,income\n30,ann,1.5\n41,\"b, c\",-2e3\n";
  const SourceArray array = read(text, {"income", "age"});
  CHECK(array.dims == Dims{2, 2});
  CHECK(doubles(array) == std::vector<double>{1.5, 30, -2000, 41});
}

TEST_CASE("without columns all are taken; whole numbers stay integers") {
  const SourceArray array = read("a,b\n1,-2\n+3,9007199254740993\n");
  CHECK(array.dims == Dims{2, 2});
  CHECK(integers(array) == std::vector<std::int64_t>{1, -2, 3, 9007199254740993});
}

TEST_CASE("CRLF, a byte order mark, spaces, quotes and no final newline change nothing") {
  const std::vector<double> expected = {1, 2.5, 3, 4};
  CHECK(doubles(read("a,b\r\n1,2.5\r\n3,4\r\n")) == expected);
  CHECK(doubles(read("\xEF\xBB\xBF"
                     "a,b\n1,2.5\n3,4")) == expected);
  CHECK(doubles(read("a , b\n 1 ,2.5\t\n3, 4")) == expected);
  CHECK(doubles(read("\"a\",\"b\"\r\n\"1\",\"2.5\"\r\n\"3\",4\r\n")) == expected);
  CHECK(doubles(read("a,b\n1,2.5\n3,4\n\n\r\n")) == expected);
}

TEST_CASE("quotes hold commas, quotes and line ends, and lines are counted through them") {
  const std::string text = "id,\"the \"\"note\"\"\"\n1,\"two\nlines\"\nx,y\n";
  CHECK(fails(text, "x.csv:4: column \"id\" holds \"x\", which is not a number", {"id"}));
  CHECK(integers(read("id,\"the \"\"note\"\"\"\n1,\"7\"\n", {"the \"note\""})) == std::vector<std::int64_t>{7});
}

TEST_CASE("an empty or non-numeric cell is an error with its line and column") {
  CHECK(fails("a,b\n1,2\n3,\n", "x.csv:3: column \"b\" is empty"));
  CHECK(fails("a,b\n1,2\n ,4\n", "x.csv:3: column \"a\" is empty"));
  CHECK(fails("a,b\n1,2\n3,four\n", "x.csv:3: column \"b\" holds \"four\", which is not a number"));
  CHECK(fails("a\n1.5.2\n", "x.csv:2: column \"a\" holds \"1.5.2\""));
  CHECK(fails("a\n0x10\n", "\"0x10\", which is not a number"));
  CHECK(fails("a\nnan\n", "not finite"));
  CHECK(fails("a\n-inf\n", "not finite"));
  CHECK(fails("a\n1e999\n", "outside the range of a double"));
  CHECK(fails("a\n+-1\n", "not a number"));
}

TEST_CASE("columns that are not asked for may hold anything") {
  CHECK(integers(read("a,b\n1,\n2,x\n", {"a"})) == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("rows of another length are errors") {
  CHECK(fails("a,b\n1,2\n3\n", "x.csv:3: has 1 cells, the header has 2"));
  CHECK(fails("a,b\n1,2,3\n", "x.csv:2: has 3 cells, the header has 2"));
  CHECK(fails("a,b\n1,2\n\n3,4\n", "x.csv:3: is an empty line"));
}

TEST_CASE("the header is required and its names are unique") {
  CHECK(fails("1,2\n3,4\n", "x.csv:1: the first line holds only numbers"));
  CHECK(fails("a,b,a\n1,2,3\n", "x.csv:1: the header names column \"a\" twice"));
  CHECK(fails("a,b\n", "there is a header but no row"));
  CHECK(fails("a,b", "there is a header but no row"));
  CHECK(fails("a,b\n1,2\n", "there is no column \"c\"; there are a, b", {"c"}));
}

TEST_CASE("a single row is one sample") { CHECK(read("a,b\n1,2\n").dims == Dims{1, 2}); }

TEST_CASE("broken quotes are errors") {
  CHECK(fails("a\n\"1\n", "a quoted cell does not end"));
  CHECK(fails("a\n\"1\"2\n", "something follows the closing quote"));
}

TEST_CASE("a cell without end is no way to take memory") {
  CHECK(fails("a\n" + std::string(70000, '1'), "a cell is longer than 65536 bytes"));
}

TEST_CASE("integers met before the first decimal keep their values") {
  CHECK(doubles(read("a\n1\n2\n2.5\n3\n")) == std::vector<double>{1, 2, 2.5, 3});
}

TEST_CASE("a CSV file larger than the read buffer is read whole") {
  std::string text = "index,square\n";
  for (int i = 0; i < 20000; ++i) text += std::to_string(i) + "," + std::to_string(i * 2) + "\r\n";
  const auto values = integers(read(text, {"square"}));
  REQUIRE(values.size() == 20000);
  for (int i = 0; i < 20000; ++i) REQUIRE(values[static_cast<std::size_t>(i)] == i * 2);
}
