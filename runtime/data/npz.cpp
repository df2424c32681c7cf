#include "runtime/data/npz.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>

#include <fmt/format.h>
#include <zip.h>

#include "runtime/data/gzip.hpp"
#include "runtime/data/npy.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

/// Lets libzip read from the stream, so that an archive need not be in memory. Owned by the archive's reader.
class ZipStream {
 public:
  explicit ZipStream(std::istream& stream) : stream_(stream), base_(stream.tellg()) {
    zip_error_init(&error_);
    stream_.seekg(0, std::ios::end);
    length_ = static_cast<zip_uint64_t>(stream_.tellg() - base_);
  }
  ZipStream(const ZipStream&) = delete;
  ZipStream& operator=(const ZipStream&) = delete;
  ~ZipStream() { zip_error_fini(&error_); }

  zip_uint64_t length() const { return length_; }

  static zip_int64_t call(void* self, void* data, zip_uint64_t size, zip_source_cmd_t command) {
    return static_cast<ZipStream*>(self)->answer(data, size, command);
  }

 private:
  zip_int64_t answer(void* data, zip_uint64_t size, zip_source_cmd_t command) {
    switch (command) {
      case ZIP_SOURCE_OPEN:
        position_ = 0;
        return 0;
      case ZIP_SOURCE_READ:
        return read(static_cast<char*>(data), size);
      case ZIP_SOURCE_SEEK:
        return seek(data, size);
      case ZIP_SOURCE_TELL:
        return position_;
      case ZIP_SOURCE_STAT:
        return stat(static_cast<zip_stat_t*>(data));
      case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&error_, data, size);
      case ZIP_SOURCE_CLOSE:
      case ZIP_SOURCE_FREE:
        return 0;
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_CLOSE, ZIP_SOURCE_FREE,
                                              ZIP_SOURCE_SUPPORTS, -1);
      default:
        zip_error_set(&error_, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
  }

  zip_int64_t read(char* to, zip_uint64_t size) {
    stream_.clear();
    stream_.seekg(base_ + static_cast<std::streamoff>(position_));
    stream_.read(to, static_cast<std::streamsize>(size));
    if (stream_.bad()) {
      zip_error_set(&error_, ZIP_ER_READ, 0);
      return -1;
    }
    position_ += stream_.gcount();
    return stream_.gcount();
  }

  zip_int64_t seek(void* data, zip_uint64_t size) {
    const zip_int64_t to =
        zip_source_seek_compute_offset(static_cast<zip_uint64_t>(position_), length_, data, size, &error_);
    if (to < 0) return -1;
    position_ = to;
    return 0;
  }

  zip_int64_t stat(zip_stat_t* result) const {
    zip_stat_init(result);
    result->size = length_;
    result->valid |= ZIP_STAT_SIZE;
    return sizeof(zip_stat_t);
  }

  std::istream& stream_;
  std::streampos base_;
  zip_int64_t position_ = 0;
  zip_uint64_t length_ = 0;
  zip_error_t error_;
};

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, CloseArchive>;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::invalid_data, name + ": " + what);
}

Archive open_archive(ZipStream& stream, const std::string& name) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_function_create(ZipStream::call, &stream, &error);
  zip_t* archive = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  if (!archive && source) zip_source_free(source);
  const std::string why = archive ? "" : zip_error_strerror(&error);
  zip_error_fini(&error);
  if (!archive) fail(name, "is no zip archive, or it is cut off (" + why + ")");
  return Archive(archive);
}

/// One member, decompressed; libzip checks its CRC when the end is read.
class MemberSource final : public ByteSource {
 public:
  MemberSource(zip_t* archive, zip_uint64_t index, zip_uint64_t archive_length, std::string name)
      : name_(std::move(name)), file_(zip_fopen_index(archive, index, 0)) {
    if (!file_) fail(name_, std::string("cannot be opened: ") + zip_strerror(archive));
    zip_stat_t stat;
    if (zip_stat_index(archive, index, 0, &stat) != 0) fail(name_, std::string("is damaged: ") + zip_strerror(archive));
    const bool bounded = stat.comp_method == ZIP_CM_STORE || stat.comp_method == ZIP_CM_DEFLATE;
    const std::uint64_t stored = std::min<std::uint64_t>(stat.comp_size, archive_length);
    const std::uint64_t ratio = stat.comp_method == ZIP_CM_STORE ? 1 : largest_deflate_ratio;
    left_ = bounded ? std::min<std::uint64_t>(stat.size, stored * ratio) : unknown;
  }
  MemberSource(const MemberSource&) = delete;
  MemberSource& operator=(const MemberSource&) = delete;
  ~MemberSource() override {
    if (file_) zip_fclose(file_);
  }

  std::size_t read(std::byte* to, std::size_t size) override {
    std::size_t done = 0;
    while (done < size) {
      const zip_int64_t count = zip_fread(file_, to + done, size - done);
      if (count < 0) fail(name_, std::string("is damaged: ") + zip_file_strerror(file_));
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
    }
    if (left_ != unknown) left_ -= std::min<std::uint64_t>(left_, done);
    return done;
  }

  std::uint64_t at_most() const override { return left_; }

 private:
  std::string name_;
  zip_file_t* file_;
  std::uint64_t left_ = unknown;
};

struct Member {
  std::string name;
  zip_uint64_t index;
};

std::vector<Member> list_arrays(zip_t* archive) {
  std::vector<Member> members;
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    std::string text = name ? name : "";
    if (!text.ends_with(".npy")) continue;
    text.resize(text.size() - 4);
    members.push_back({std::move(text), static_cast<zip_uint64_t>(i)});
  }
  return members;
}

std::string names_of(const std::vector<Member>& members) {
  std::string text;
  for (const Member& member : members) text += (text.empty() ? "" : ", ") + member.name;
  return text;
}

const Member& find_array(const std::vector<Member>& members, const std::string& name, const std::string& wanted) {
  if (members.empty()) fail(name, "holds no .npy arrays");
  if (wanted.empty() && members.size() > 1)
    fail(name,
         fmt::format("holds {} arrays; say which as {}:NAME; there are {}", members.size(), name, names_of(members)));
  if (wanted.empty()) return members.front();
  const auto same = [&](const Member& member) { return member.name == wanted; };
  const auto found = std::find_if(members.begin(), members.end(), same);
  if (found == members.end()) fail(name, fmt::format("holds no array \"{}\"; there are {}", wanted, names_of(members)));
  if (std::count_if(members.begin(), members.end(), same) > 1) fail(name, "holds two arrays \"" + wanted + "\"");
  return *found;
}

}  // namespace

bool looks_like_zip(std::span<const std::byte> start) {
  constexpr std::byte member[] = {std::byte{'P'}, std::byte{'K'}, std::byte{3}, std::byte{4}};
  constexpr std::byte empty_archive[] = {std::byte{'P'}, std::byte{'K'}, std::byte{5}, std::byte{6}};
  return std::equal(start.begin(), start.end(), std::begin(member), std::end(member)) ||
         std::equal(start.begin(), start.end(), std::begin(empty_archive), std::end(empty_archive));
}

SourceArray read_npz(std::istream& stream, const std::string& name, const std::string& member) {
  ZipStream zip_stream(stream);
  const Archive archive = open_archive(zip_stream, name);
  const std::vector<Member> members = list_arrays(archive.get());
  const Member& chosen = find_array(members, name, member);
  const std::string full_name = name + ":" + chosen.name;
  ByteReader reader(std::make_unique<MemberSource>(archive.get(), chosen.index, zip_stream.length(), full_name),
                    full_name);
  return read_npy(reader);
}

}  // namespace weir
