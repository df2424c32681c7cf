#include "runtime/data/idx.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <sstream>

#include "tests/message_of.hpp"

using namespace weir;

namespace {

std::string idx_bytes(char type, const std::vector<std::uint32_t>& sizes, const std::string& data) {
  std::string bytes{'\0', '\0', type, static_cast<char>(sizes.size())};
  for (std::uint32_t size : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(size >> shift);
  return bytes + data;
}

std::string gzipped(const std::string& bytes) {
  z_stream stream = {};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string result(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

SourceArray read(const std::string& bytes) {
  std::istringstream stream(bytes);
  return read_array(stream, "x.idx");
}

std::string error_of(const std::string& bytes) {
  return message_of([&] { read(bytes); });
}

bool contains(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CHECK(message.starts_with("x.idx: "));
  return message.find(part) != std::string::npos;
}

/// Cannot seek: its length is unknown.
class Pipe : public std::stringbuf {
 public:
  explicit Pipe(const std::string& bytes) : std::stringbuf(bytes) {}

 protected:
  pos_type seekoff(off_type, std::ios::seekdir, std::ios::openmode) override { return -1; }
  pos_type seekpos(pos_type, std::ios::openmode) override { return -1; }
};

const std::string image_bytes = idx_bytes(0x08, {2, 2, 3}, "abcdefghijkl");

}  // namespace

TEST_CASE("IDX images are read as the bytes they are") {
  const SourceArray array = read(image_bytes);
  CHECK(array.type == SourceType::u8);
  CHECK(array.dims == Dims{2, 2, 3});
  CHECK(array.data<std::uint8_t>()[11] == 'l');
}

TEST_CASE("IDX numbers are turned from big-endian") {
  const SourceArray shorts = read(idx_bytes(0x0B, {2}, std::string("\x01\x02\xFF\xFE", 4)));
  CHECK(shorts.data<std::int16_t>()[0] == 0x0102);
  CHECK(shorts.data<std::int16_t>()[1] == -2);
  CHECK(read(idx_bytes(0x0C, {1}, std::string("\x00\x01\x02\x03", 4))).data<std::int32_t>()[0] == 0x010203);
  CHECK(read(idx_bytes(0x0D, {1}, std::string("\x3F\xC0\x00\x00", 4))).data<float>()[0] == 1.5f);
  CHECK(read(idx_bytes(0x0E, {1}, std::string("\xBF\xF8\0\0\0\0\0\0", 8))).data<double>()[0] == -1.5);
  CHECK(read(idx_bytes(0x09, {1}, "\xFF")).data<std::int8_t>()[0] == -1);
}

TEST_CASE("a gzipped IDX file is the same array") {
  CHECK(read(gzipped(image_bytes)).bytes == read(image_bytes).bytes);
  const std::string in_two_members = gzipped(image_bytes.substr(0, 9)) + gzipped(image_bytes.substr(9));
  CHECK(read(in_two_members).bytes == read(image_bytes).bytes);
}

TEST_CASE("a large gzipped array survives many buffers") {
  std::string data(3'000'000, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 13);
  const SourceArray array = read(gzipped(idx_bytes(0x08, {3000, 1000}, data)));
  REQUIRE(array.bytes.size() == data.size());
  CHECK(std::equal(data.begin(), data.end(), array.data<char>()));
}

TEST_CASE("an IDX file cut off at any length is an error") {
  for (std::size_t size = 4; size < image_bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(contains(error_of(image_bytes.substr(0, size)), "is cut off"));
  }
}

TEST_CASE("a gzipped IDX file cut off at any length is an error") {
  const std::string whole = gzipped(image_bytes);
  for (std::size_t size = 2; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(contains(error_of(whole.substr(0, size)), "cut off"));
  }
}

TEST_CASE("damaged gzip data are noticed by their check sum") {
  const std::string whole = gzipped(image_bytes);
  for (std::size_t at = 10; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    CHECK(error_of(damaged).starts_with("x.idx: "));
  }
  CHECK(contains(error_of(whole + "rest"), "gzip data are damaged"));
}

TEST_CASE("extra bytes are refused, plain and gzipped") {
  CHECK(contains(error_of(image_bytes + "x"), "has bytes after the data (u8 [2, 2, 3])"));
  CHECK(contains(error_of(gzipped(image_bytes + "x")), "has bytes after the data"));
}

TEST_CASE("an IDX header is never trusted with memory") {
  CHECK(contains(error_of(idx_bytes(0x08, {2000000000, 400}, "ab")), "at most 2 of 800000000000 bytes"));
  CHECK(contains(error_of(idx_bytes(0x08, {0xFFFFFFFF}, "ab")), "a dimension is 0 to 2147483647"));
  CHECK(contains(error_of(idx_bytes(0x08, {2000000000, 2000000000}, "ab")), "2^40"));
  CHECK(contains(error_of(gzipped(idx_bytes(0x08, {2000000000, 400}, "ab"))), "of 800000000000 bytes"));
  const std::string ones = idx_bytes(0x08, std::vector<std::uint32_t>(13, 1), "a");
  CHECK(contains(error_of(ones), "at most 12 dimensions"));
}

TEST_CASE("wrong IDX magic numbers are refused") {
  std::istringstream stream(std::string("\0\1\x08\1", 4));
  CHECK(contains(message_of([&] {
                   ByteReader reader(std::make_unique<StreamSource>(stream, "x.idx"), "x.idx");
                   read_idx(reader);
                 }),
                 "starts with 00010801, which is no IDX magic number"));
  CHECK(contains(error_of(std::string("\0\0\x0A\1", 4)), "neither .npy, .npz, IDX nor CSV"));
}

TEST_CASE("a stream of unknown length is read as it comes and a lie about its size costs no memory") {
  Pipe good(image_bytes);
  std::istream good_stream(&good);
  CHECK(read_array(good_stream, "x.idx").bytes == read(image_bytes).bytes);
  Pipe lie(idx_bytes(0x08, {2000000000, 400}, "ab"));
  std::istream lying_stream(&lie);
  CHECK(contains(message_of([&] { read_array(lying_stream, "x.idx"); }), "2 of 800000000000 bytes"));
}
