#include "runtime/data/npz.hpp"

#include <doctest/doctest.h>
#include <zip.h>

#include <fstream>
#include <sstream>

#include "runtime/formats/npy_writer.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

std::string file_bytes(const std::string& name) {
  std::ifstream file(WEIR_SOURCE_DIR "/tests/data/" + name, std::ios::binary);
  REQUIRE(file);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

SourceArray read(const std::string& bytes, const std::string& member = "") {
  std::istringstream stream(bytes);
  return read_array(stream, "x.npz", {member, {}});
}

std::string error_of(const std::string& bytes, const std::string& member = "") {
  return message_of([&] { read(bytes, member); });
}

bool contains(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CHECK(message.starts_with("x.npz"));
  return message.find(part) != std::string::npos;
}

struct Entry {
  std::string name, content;
};

std::string zip_bytes(const std::vector<Entry>& entries) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* buffer = zip_source_buffer_create(nullptr, 0, 0, &error);
  zip_t* archive = zip_open_from_source(buffer, ZIP_TRUNCATE, &error);
  REQUIRE(archive);
  zip_source_keep(buffer);
  for (const Entry& entry : entries) {
    zip_source_t* content = zip_source_buffer(archive, entry.content.data(), entry.content.size(), 0);
    REQUIRE(zip_file_add(archive, entry.name.c_str(), content, 0) >= 0);
  }
  REQUIRE(zip_close(archive) == 0);
  REQUIRE(zip_source_open(buffer) == 0);
  zip_stat_t stat;
  REQUIRE(zip_source_stat(buffer, &stat) >= 0);
  std::string bytes(stat.size, '\0');
  REQUIRE(zip_source_read(buffer, bytes.data(), bytes.size()) == static_cast<zip_int64_t>(bytes.size()));
  zip_source_close(buffer);
  zip_source_free(buffer);
  return bytes;
}

}  // namespace

TEST_CASE("the arrays of an archive that NumPy wrote are read by name") {
  const std::string bytes = file_bytes("two_arrays.npz");
  const SourceArray images = read(bytes, "images");
  CHECK(images.type == SourceType::u8);
  CHECK(images.dims == Dims{2, 3, 4});
  for (int i = 0; i < 24; ++i) CHECK(images.data<std::uint8_t>()[i] == i);
  const SourceArray labels = read(bytes, "labels");
  CHECK(labels.source == "x.npz:labels");
  CHECK(labels.type == SourceType::i64);
  CHECK(labels.data<std::int64_t>()[0] == 7);
  CHECK(labels.data<std::int64_t>()[1] == -3);
}

TEST_CASE("the only array of a deflated archive needs no name") {
  const SourceArray array = read(file_bytes("one_array_deflated.npz"));
  CHECK(array.type == SourceType::f16);
  CHECK(array.dims == Dims{100});
  for (int i = 0; i < 100; ++i) CHECK(half_to_float(array.data<std::uint16_t>()[i]) == static_cast<float>(i) / 4);
}

TEST_CASE("an archive is read from where the stream stands") {
  std::istringstream stream("before" + file_bytes("two_arrays.npz"));
  stream.seekg(6);
  CHECK(read_array(stream, "x.npz", {"images", {}}).dims == Dims{2, 3, 4});
}

TEST_CASE("asking for the wrong array prints those that are there") {
  const std::string bytes = file_bytes("two_arrays.npz");
  CHECK(contains(error_of(bytes), "holds 2 arrays; say which as x.npz:NAME; there are images, labels"));
  CHECK(contains(error_of(bytes, "image"), "holds no array \"image\"; there are images, labels"));
  CHECK(contains(error_of(zip_bytes({{"readme.txt", "hello"}})), "holds no .npy arrays"));
  const std::string one = file_bytes("f4_3x4.npy");
  CHECK(contains(error_of(zip_bytes({{"a.npy", one}, {"b.npy", "x"}}), "b"), "x.npz:b: is cut off"));
}

TEST_CASE("an archive cut off at any length is an error") {
  const std::string whole = file_bytes("one_array_deflated.npz");
  for (std::size_t size = 4; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(contains(error_of(whole.substr(0, size)), "cut off"));
  }
}

TEST_CASE("every damaged byte of an array in an archive is noticed") {
  const std::string whole = file_bytes("two_arrays.npz");
  const std::size_t data = whole.find("\x93NUMPY") + 128;
  for (std::size_t at = data; at < data + 24; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CHECK(contains(error_of(damaged, "images"), "x.npz:images: is damaged"));
  }
}

TEST_CASE("every single-bit change of an archive is read or refused, never worse") {
  const std::string whole = file_bytes("one_array_deflated.npz");
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      refused += error_of(flipped).starts_with("x.npz");
    }
  CHECK(refused > 1000);
}

TEST_CASE("bytes after the array of a member are refused") {
  CHECK(contains(error_of(zip_bytes({{"a.npy", file_bytes("f4_3x4.npy") + "!"}})), "has bytes after the data"));
}

TEST_CASE("a path may name an array of an archive") {
  CHECK(split_array_path("d/f.npz:images").file == "d/f.npz");
  CHECK(split_array_path("d/f.npz:images").member == "images");
  CHECK(split_array_path("a:b.npy").file == "a:b.npy");
  CHECK(split_array_path("f.npz").member.empty());
}

TEST_CASE("what is written as npz is read back, and the same tensors give the same bytes") {
  Tensor hidden(DType::f32, {2, 3}), output(DType::f64, {2});
  hidden.data<float>()[5] = 1.5f;
  output.data<double>()[1] = -2;
  const std::string bytes = npz_bytes({{"output", output}, {"hidden", hidden}});
  CHECK(bytes == npz_bytes({{"hidden", hidden}, {"output", output}}));
  CHECK(read(bytes, "hidden").bytes == hidden.bytes);
  CHECK(read(bytes, "output").type == SourceType::f64);
  CHECK(read(bytes, "output").bytes == output.bytes);
}
