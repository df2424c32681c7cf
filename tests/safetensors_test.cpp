#include "runtime/formats/safetensors.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "runtime/formats/durable_file.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

const std::filesystem::path mixed_file = WEIR_SOURCE_DIR "/tests/data/mixed.safetensors";

std::string with_length(std::uint64_t length, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + rest;
}

std::string with_header(const std::string& header, const std::string& data) {
  return with_length(header.size(), header + data);
}

std::map<std::string, Tensor> read(const std::string& bytes, Metadata* metadata = nullptr) {
  std::istringstream stream(bytes);
  return read_safetensors(stream, "w.safetensors", metadata);
}

std::string error_of(const std::string& bytes) {
  return message_of([&] { read(bytes); });
}

bool contains(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CAPTURE(part);
  CHECK(message.starts_with("w.safetensors: "));
  CHECK(message.find(part) != std::string::npos);
  return message.find(part) != std::string::npos;
}

std::map<std::string, TensorView> views(const std::map<std::string, Tensor>& tensors) {
  return {tensors.begin(), tensors.end()};
}

Tensor floats(Dims dims, float first) {
  Tensor tensor(DType::f32, std::move(dims));
  for (std::int64_t i = 0; i < tensor.count(); ++i) tensor.data<float>()[i] = first + static_cast<float>(i);
  return tensor;
}

/// A folder that goes away.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    path = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
  std::ptrdiff_t entries() const {
    return std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator());
  }
};

/// As a full disk: writing past `bytes` of a file fails.
struct FileSizeLimit {
  rlimit before;
  void (*handler)(int);
  explicit FileSizeLimit(rlim_t bytes) : handler(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit lowered{bytes, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &lowered);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
  }
};

}  // namespace

TEST_CASE("a file that the format's own library wrote is read and written back byte by byte") {
  const std::string bytes = file_bytes(mixed_file);
  Metadata metadata;
  const auto tensors = read(bytes, &metadata);
  CHECK(tensors.size() == 5);
  CHECK(tensors.at("dense.kernel").dims == Dims{2, 3});
  CHECK(tensors.at("dense.kernel").data<float>()[5] == 5);
  CHECK(tensors.at("count").dims.empty());
  CHECK(tensors.at("count").data<std::int32_t>()[0] == 5);
  CHECK(tensors.at("wide").data<double>()[1] == 2.5);
  CHECK(tensors.at("empty").dims == Dims{0, 4});
  CHECK(tensors.at("bytes").data<std::uint8_t>()[1] == 255);
  CHECK(metadata == Metadata{{"note", "ä"}});
  CHECK(safetensors_bytes(views(tensors), metadata) == bytes);
}

TEST_CASE("no tensors make a valid file") {
  const std::string bytes = safetensors_bytes({});
  CHECK(bytes.size() == 16);
  CHECK(read(bytes).empty());
}

TEST_CASE("the data start on a multiple of eight whatever the names") {
  for (const char* name : {"a", "ab", "abc", "abcdefgh", "a\"b\\c"}) {
    const std::map<std::string, Tensor> tensors = {{name, floats({3}, 1)}};
    const std::string bytes = safetensors_bytes(views(tensors));
    CHECK((bytes.size() - 12) % 8 == 0);
    CHECK(read(bytes).at(name).bytes == tensors.at(name).bytes);
  }
}

TEST_CASE("a safetensors file cut off at any length is an error") {
  const std::string whole = file_bytes(mixed_file);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(contains(error_of(whole.substr(0, size)), "cut off"));
  }
  CHECK(contains(error_of(whole + "x"), "is too long"));
}

TEST_CASE("every single-bit change of a header is read or refused, never worse") {
  const std::string whole = file_bytes(mixed_file);
  std::uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  int refused = 0;
  for (std::size_t at = 0; at < 8 + length; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      refused += error_of(flipped).starts_with("w.safetensors: ");
    }
  CHECK(refused > static_cast<int>(length) * 4);
}

TEST_CASE("a header length is never trusted with memory") {
  CHECK(contains(error_of(with_length(100'000'001, "{}")), "at most 100000000 are allowed"));
  CHECK(contains(error_of(with_length(~0ull, "{}")), "at most 100000000 are allowed"));
  CHECK(contains(error_of(with_length(99'999'999, "{}")), "at most 2 of 99999999 bytes of the header"));
}

TEST_CASE("holes, overlaps and wrong sizes are refused and name the tensor") {
  const std::string a = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  const auto two = [&](const std::string& b) { return error_of(with_header(a + b + "}", "12345678abcd")); };
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]})"),
                 "tensor \"b\" starts at 8, after a hole"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[2],"data_offsets":[2,10]})"),
                 "tensor \"b\" starts at 2, inside another"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "starts at 0, inside another"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,12]})"),
                 "needs 4 bytes, but its offsets are 4 to 12"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,4]})"), "its offsets are 8 to 4"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})"),
                 "is too long: its tensors take 8 bytes, 12"));
  CHECK(contains(two(R"("b":{"dtype":"F32","shape":[3],"data_offsets":[4,16]})"), "is cut off: its tensors take 16"));
}

TEST_CASE("sizes that overflow are refused") {
  const auto shaped = [](const std::string& shape, const std::string& offsets) {
    return error_of(
        with_header(R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", "1234"));
  };
  CHECK(contains(shaped("[1099511627776,1099511627776]", "[0,4]"), "tensor \"a\""));
  CHECK(contains(shaped("[4611686018427387905]", "[0,4]"), "has a dimension of 4611686018427387905"));
  CHECK(contains(shaped("[18446744073709551616]", "[0,4]"), "has the number 18446744073709551616"));
  CHECK(contains(shaped("[1]", "[18446744073709551612,18446744073709551616]"), "where an offset is expected"));
  CHECK(contains(shaped("[1]", "[18446744073709551612,0]"), "its offsets are"));
  CHECK(contains(shaped("[1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), "more than 12 dimensions"));
}

TEST_CASE("wrong headers are refused, each with its reason") {
  struct Case {
    std::string header;
    const char* part;
  };
  const std::string fine = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::vector<Case> cases = {
      {"", "does not start with '{'"},
      {" {" + fine + "}", "does not start with '{'"},
      {"{" + fine + "}\n", "does not end with '}' and spaces"},
      {"{" + fine, "not valid JSON"},
      {"{" + fine + "}}", "not valid JSON"},
      {"{\"\xFF\":1}", "not valid JSON"},
      {"{" + fine + "," + fine + "}", "has \"a\" twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "has \"__metadata__\" twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "has \"k\" twice"},
      {R"({"__metadata__":{"k":1}})", "the number 1 where a string is expected"},
      {R"({"__metadata__":{"k":{}}})", "an object where a string is expected"},
      {R"({"__metadata__":"k"})", "a string where an object is expected"},
      {R"({"a":[]})", "a list where an object is expected"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", "tensor \"a\" needs dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "tensor \"a\" has \"dtype\" twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", "unknown key \"x\""},
      {R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", "the number 1 where a string is expected (\"dtype\")"},
      {R"({"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}})", "a list where a string is expected"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "the number -1 where a size is expected"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", "the number 1.0 where a size is expected"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", "a list where a size is expected"},
      {R"({"a":{"dtype":"F32","shape":[null],"data_offsets":[0,4]}})", "null where a size is expected"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "needs two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", "more than two data_offsets"},
      {R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "tensor \"a\" is F16; F32, F64, I32 and U8"},
      {R"({"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}})", "tensor \"a\" is f32; F32"},
  };
  for (const Case& wrong : cases) {
    CAPTURE(wrong.header);
    CHECK(contains(error_of(with_header(wrong.header, "1234")), wrong.part));
  }
}

TEST_CASE("deep nesting in a header is refused at once") {
  CHECK(contains(error_of(with_header("{\"a\":" + std::string(1'000'000, '[') + "}", "")), "a list where an object"));
}

TEST_CASE("200,000 tensors are read and one more is refused") {
  std::string header = "{";
  for (int i = 0; i < 200'000; ++i)
    header += "\"t" + std::to_string(i) + "\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},";
  CHECK(read(with_header(header + "\"__metadata__\":{}}", "")).size() == 200'000);
  header += R"("one more":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})";
  CHECK(contains(error_of(with_header(header, "")), "has more than 200000 tensors"));
}

TEST_CASE("names that a file cannot hold are refused before anything is written") {
  const Tensor tensor = floats({1}, 0);
  CHECK(message_of([&] {
          safetensors_bytes({{"__metadata__", tensor}});
        }).find("cannot be named") != std::string::npos);
  CHECK(message_of([&] { safetensors_bytes({{"\xFF", tensor}}); }).find("not valid UTF-8") != std::string::npos);
}

TEST_CASE("a file is replaced completely and leaves nothing beside it") {
  const Folder folder;
  const auto path = folder.path / "w.safetensors";
  for (float first : {1.0f, 2.0f}) {
    const std::map<std::string, Tensor> tensors = {{"a", floats({4}, first)}, {"b", floats({}, first)}};
    write_safetensors(path, views(tensors), {{"step", "3"}});
    CHECK(file_bytes(path) == safetensors_bytes(views(tensors), {{"step", "3"}}));
    CHECK(folder.entries() == 1);
  }
}

TEST_CASE("writing that fails leaves the old file as it was and no temporary") {
  const Folder folder;
  const auto path = folder.path / "w.safetensors";
  write_durably(path, "old");
  const std::map<std::string, Tensor> large = {{"a", floats({100000}, 0)}};
  std::string message;
  {
    const FileSizeLimit limit(5000);
    message = message_of([&] { write_safetensors(path, views(large)); });
  }
  CHECK(message.find("w.safetensors: reserving 400") != std::string::npos);
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(file_bytes(path) == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("a path that cannot be replaced is an error and leaves no temporary") {
  const Folder folder;
  std::filesystem::create_directories(folder.path / "w.safetensors" / "inside");
  CHECK(message_of([&] { write_durably(folder.path / "w.safetensors", "new"); }).find("replacing it failed") !=
        std::string::npos);
  CHECK(folder.entries() == 1);
  CHECK(message_of([&] {
          write_durably(folder.path / "none" / "w", "new");
        }).find("creating a temporary file beside it failed: No such file or directory") != std::string::npos);
}
