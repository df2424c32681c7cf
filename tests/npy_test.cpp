#include "runtime/data/npy.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "runtime/formats/npy_writer.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

std::string npy_bytes(const std::string& header, const std::string& data, char major = 1) {
  std::string bytes = std::string("\x93NUMPY") + major + '\0';
  const auto length = static_cast<std::uint32_t>(header.size());
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) bytes += static_cast<char>(length >> 8 * i);
  return bytes + header + data;
}

std::string dict(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }   \n";
}

SourceArray read(const std::string& bytes) {
  std::istringstream stream(bytes);
  return read_array(stream, "x.npy");
}

std::string error_of(const std::string& bytes) {
  return message_of([&] { read(bytes); });
}

bool mentions(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CAPTURE(part);
  CHECK(message.find(part) != std::string::npos);
  return message.starts_with("x.npy: ");
}

std::string file_bytes(const std::string& name) {
  std::ifstream file(WEIR_SOURCE_DIR "/tests/data/" + name, std::ios::binary);
  REQUIRE(file);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

}  // namespace

TEST_CASE("a file that NumPy wrote is read in its own type") {
  const SourceArray array = read(file_bytes("f4_3x4.npy"));
  CHECK(array.type == SourceType::f32);
  CHECK(array.dims == Dims{3, 4});
  REQUIRE(array.bytes.size() == 48);
  for (int i = 0; i < 12; ++i) CHECK(array.data<float>()[i] == static_cast<float>(i) / 2);
}

TEST_CASE("an npy file cut off at any length is an error") {
  const std::string whole = file_bytes("f4_3x4.npy");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string message = error_of(whole.substr(0, size));
    CAPTURE(size);
    CAPTURE(message);
    CHECK(message.starts_with("x.npy:"));
    if (size >= 6) CHECK(message.find("is cut off") != std::string::npos);
  }
}

TEST_CASE("every known npy element type is kept") {
  struct Case {
    const char* descr;
    SourceType type;
    std::size_t size;
  };
  for (const Case& known :
       {Case{"|b1", SourceType::boolean, 1}, Case{"|u1", SourceType::u8, 1}, Case{"|i1", SourceType::i8, 1},
        Case{"<i2", SourceType::i16, 2}, Case{"<i4", SourceType::i32, 4}, Case{"<i8", SourceType::i64, 8},
        Case{"<f2", SourceType::f16, 2}, Case{"<f4", SourceType::f32, 4}, Case{"<f8", SourceType::f64, 8}}) {
    const SourceArray array = read(npy_bytes(dict(known.descr, "False", "(3,)"), std::string(3 * known.size, '\1')));
    CHECK(array.type == known.type);
    CHECK(array.bytes.size() == 3 * known.size);
  }
}

TEST_CASE("npy versions 2 and 3, double quotes, another key order and no final comma are read") {
  const std::string header = "{\"shape\": ( 2 , 1 ), \"descr\": \"|u1\", \"fortran_order\": False}\n";
  CHECK(read(npy_bytes(header, "ab", 2)).dims == Dims{2, 1});
  CHECK(read(npy_bytes(header, "ab", 3)).dims == Dims{2, 1});
  CHECK(read(npy_bytes(dict("|u1", "False", "()"), "a")).dims.empty());
}

TEST_CASE("Fortran order is refused with the way out") {
  CHECK(mentions(error_of(file_bytes("fortran_f8_2x3.npy")), "np.ascontiguousarray"));
}

TEST_CASE("pickled objects are refused") { CHECK(mentions(error_of(file_bytes("objects.npy")), "pickle")); }

TEST_CASE("extra bytes after the data are refused") {
  CHECK(mentions(error_of(file_bytes("f4_3x4.npy") + "x"), "has bytes after the data"));
}

TEST_CASE("a header is never trusted with memory") {
  CHECK(mentions(error_of(npy_bytes(dict("|u1", "False", "(2000000000, 500)"), "ab")), "at most 2 of 1000000000000"));
  CHECK(mentions(error_of(npy_bytes(dict("<f8", "False", "(2000000000, 2000000000, 2000000000)"), "")), "2^40"));
  CHECK(mentions(error_of(npy_bytes(dict("<f8", "False", "(4294967296,)"), "")), "a dimension is 0 to 2147483647"));
  CHECK(mentions(error_of(npy_bytes(dict("|u1", "False", "(1,1,1,1,1,1,1,1,1,1,1,1,1)"), "a")), "12 dimensions"));
  CHECK(mentions(error_of(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12)), "at most 1048576 are allowed"));
}

TEST_CASE("wrong npy headers are refused, each with its reason") {
  struct Case {
    std::string header;
    const char* part;
  };
  const std::vector<Case> cases = {
      {dict(">f4", "False", "(1,)"), "big-endian (\">f4\"); save it with array.astype(\"<f4\")"},
      {dict("<u4", "False", "(1,)"), "element type \"<u4\"; known: bool, uint8"},
      {dict("<c8", "False", "(1,)"), "element type \"<c8\""},
      {dict("<f4", "Maybe", "(1,)"), "neither True nor False"},
      {dict("<f4", "False", "(-1,)"), "no size"},
      {dict("<f4", "False", "(99999999999999999999,)"), "no size"},
      {dict("<f4", "False", "(1)"), "no tuple"},
      {dict("<f4", "False", "3"), "lacks a '('"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured array"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "repeated key \"descr\""},
      {"{'descr': '<f4', 'order': False}", "unknown or repeated key \"order\""},
      {"{'descr': '<f4', 'fortran_order': False}", "needs the keys"},
      {"{'descr': '<f4", "lacks descr in quotes"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1", "something after the dict"},
      {"", "lacks a '{'"},
  };
  for (const Case& wrong : cases) CHECK(mentions(error_of(npy_bytes(wrong.header, "abcd")), wrong.part));
  CHECK(mentions(error_of(npy_bytes(dict("<f4", "False", "(1,)"), "abcd", 4)), "version 4.0"));
}

TEST_CASE("every single-byte change of an npy header is read or refused, never worse") {
  const std::string whole = file_bytes("f4_3x4.npy");
  int refused = 0;
  for (std::size_t at = 0; at < 128; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      const std::string message = error_of(flipped);
      refused += message.starts_with("x.npy");
    }
  CHECK(refused > 400);
}

TEST_CASE("content that is no known format is refused with its first bytes") {
  CHECK(mentions(error_of(""), "the file is empty"));
  CHECK(mentions(error_of(std::string("\x89HDF\r\n\x1a\n", 8)), "starts with the bytes 89484446"));
  std::istringstream wrong_magic(std::string("\x93NUMPX\1\0", 8));
  CHECK(mentions(message_of([&] {
                   ByteReader reader(std::make_unique<StreamSource>(wrong_magic, "x.npy"), "x.npy");
                   read_npy(reader);
                 }),
                 "magic number of .npy"));
}

TEST_CASE("options of another format are refused") {
  std::istringstream stream(file_bytes("f4_3x4.npy"));
  CHECK(mentions(message_of([&] { read_array(stream, "x.npy", {"", {"age"}}); }), "\"columns\" are of CSV files"));
  std::istringstream again(file_bytes("f4_3x4.npy"));
  CHECK(mentions(message_of([&] { read_array(again, "x.npy", {"images", {}}); }), "names an array of an .npz"));
}

TEST_CASE("half floats convert exactly") {
  CHECK(half_to_float(0x3C00) == 1.0f);
  CHECK(half_to_float(0xC500) == -5.0f);
  CHECK(half_to_float(0x7BFF) == 65504.0f);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(half_to_float(0x03FF) == 1023 * 0x1p-24f);
  CHECK(half_to_float(0x0400) == 0x1p-14f);
  CHECK(std::signbit(half_to_float(0x8000)));
  CHECK(half_to_float(0xFC00) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(half_to_float(0x7E00)));
}

TEST_CASE("an npy file is written byte by byte as NumPy writes it") {
  const std::string numpy = file_bytes("f4_3x4.npy");
  const SourceArray array = read(numpy);
  CHECK(npy_bytes(TensorView(array.bytes.data(), DType::f32, array.dims)) == numpy);
}

TEST_CASE("what is written as npy is read back, whatever the shape") {
  for (const Dims& dims : {Dims{}, Dims{5}, Dims{2, 3}, Dims{0, 4}, Dims{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3}}) {
    Tensor tensor(DType::i32, dims);
    for (std::int64_t i = 0; i < tensor.count(); ++i) tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(-i);
    const std::string bytes = npy_bytes(tensor);
    const SourceArray array = read(bytes);
    CHECK((bytes.size() - tensor.bytes.size()) % 64 == 0);
    CHECK(array.type == SourceType::i32);
    CHECK(array.dims == dims);
    CHECK(array.bytes == tensor.bytes);
  }
}
