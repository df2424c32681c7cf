#include "runtime/onednn/layouts.hpp"

#include <algorithm>
#include <cctype>
#include <map>

#include <oneapi/dnnl/dnnl_debug.h>

#include "runtime/error.hpp"
#include "runtime/onednn/layout_words.hpp"

namespace weir {
namespace {

using Tag = dnnl::memory::format_tag;

/// oneDNN's name over a, b, c, … and the tag.
struct NamedTag {
  std::string name;
  std::string blocks;  ///< "16b16a"; empty for a plain one
  Tag tag;
};

std::size_t rank_of(const std::string& name) {
  return static_cast<std::size_t>(
      std::count_if(name.begin(), name.end(), [](unsigned char c) { return std::isalpha(c); }));
}

/// Where the blocks begin: at the first digit.
std::size_t blocks_at(const std::string& name) { return std::min(name.find_first_of("0123456789"), name.size()); }

/// Tags of our form by rank, in the library's order. Other tags (with "p", 8 dimensions, …) have no word of ours.
std::map<std::size_t, std::vector<NamedTag>> read_tags() {
  std::map<std::size_t, std::vector<NamedTag>> tags;
  for (int value = dnnl_format_tag_any + 1; value < dnnl_format_tag_last; ++value) {
    const std::string name = dnnl_fmt_tag2str(static_cast<dnnl_format_tag_t>(value));
    const bool ours =
        !name.empty() && name.find_first_not_of("abcdefghijklABCDEFGHIJKL0123456789") == std::string::npos;
    if (!ours) continue;
    const std::size_t at = blocks_at(name);
    tags[rank_of(name.substr(0, at))].push_back({name, name.substr(at), static_cast<Tag>(value)});
  }
  return tags;
}

const std::vector<NamedTag>& tags_of(std::size_t rank) {
  static const auto tags = read_tags();
  static const std::vector<NamedTag> none;
  const auto found = tags.find(rank);
  return found == tags.end() ? none : found->second;
}

/// Replaces the letters of `word` that stand in `from` by those at the same place in `to`; capitals stay capitals.
std::string translate(const std::string& word, const std::string& from, const std::string& to) {
  std::string result = word;
  for (char& letter : result) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    const auto at = from.find(lower);
    if (at == std::string::npos) continue;
    letter = lower == letter ? to[at] : static_cast<char>(std::toupper(static_cast<unsigned char>(to[at])));
  }
  return result;
}

std::string numbered(std::size_t rank) { return std::string("abcdefghijkl").substr(0, rank); }

std::vector<std::size_t> order_of(const std::string& axes) {
  std::vector<std::size_t> order;
  for (char letter : logical_axes(axes)) order.push_back(axes.find(letter));
  return order;
}

dnnl::memory::desc plain_desc(const Shape& shape, const dnnl::memory::dims& dims, dnnl::memory::data_type type) {
  const std::string logical = logical_axes(shape.axes);
  dnnl::memory::dims strides(dims.size());
  std::int64_t stride = 1;
  for (std::size_t i = shape.layout.size(); i-- > 0;) {
    const std::size_t axis = logical.find(shape.layout[i]);
    strides[axis] = stride;
    stride *= dims[axis];
  }
  return {dims, type, strides};
}

const NamedTag* find_tag(const std::string& word, const std::string& axes) {
  const std::string name = translate(word, logical_axes(axes), numbered(axes.size()));
  for (const NamedTag& tag : tags_of(axes.size()))
    if (tag.name == name) return &tag;
  return nullptr;
}

/// "16b16a" of a descriptor.
std::string blocks_of(const dnnl::memory::desc& desc) {
  const auto sizes = desc.get_inner_blks(), axes = desc.get_inner_idxs();
  std::string text;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    text += std::to_string(sizes[i]) + static_cast<char>('a' + static_cast<char>(axes[i]));
  return text;
}

/// Equal descriptors may differ in the stride of an axis of extent 1. Primitives look at it when they recognise a tag,
/// so the name that agrees there too comes first.
enum class Likeness { none, same_bytes, same };

Likeness likeness(const dnnl::memory::desc& one, const dnnl::memory::desc& other) {
  if (one != other) return Likeness::none;
  return one.get_strides() == other.get_strides() ? Likeness::same : Likeness::same_bytes;
}

Likeness likeness(const dnnl::memory::desc& desc, Tag tag) {
  const dnnl::memory::desc tagged(desc.get_dims(), desc.get_data_type(), tag, true);
  return tagged.get(true) ? likeness(desc, tagged) : Likeness::none;
}

/// The same type and extents in the canonical layout.
dnnl::memory::desc canonical_desc(const dnnl::memory::desc& desc, const std::string& axes) {
  const std::string logical = logical_axes(axes);
  const auto dims = desc.get_dims();
  Shape shape{Dims(axes.size()), axes, axes};
  for (std::size_t i = 0; i < dims.size(); ++i) shape.dims[axes.find(logical[i])] = dims[i];
  return to_desc(shape, from_dnnl(desc.get_data_type()));
}

}  // namespace

std::string logical_axes(const std::string& axes) {
  const auto has = [&](char letter) { return axes.find(letter) != std::string::npos; };
  std::string first;
  if (has('o') && has('i')) {
    first = has('g') ? "goi" : "oi";
  } else if (has('n') && has('c')) {
    first = "nc";
  }
  std::string result = first;
  for (char letter : axes)
    if (first.find(letter) == std::string::npos) result += letter;
  return result;
}

dnnl::memory::dims logical_dims(const Dims& dims, const std::string& axes) {
  dnnl::memory::dims result;
  for (std::size_t axis : order_of(axes)) result.push_back(dims.at(axis));
  return result;
}

dnnl::memory::data_type to_dnnl(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::i32:
      return dnnl::memory::data_type::s32;
    case DType::u8:
      return dnnl::memory::data_type::u8;
    case DType::f64:
      break;
  }
  throw Error(ErrorCode::invalid_data, "a tensor of type f64 cannot be an operand of a oneDNN primitive");
}

DType from_dnnl(dnnl::memory::data_type type) {
  switch (type) {
    case dnnl::memory::data_type::f32:
      return DType::f32;
    case dnnl::memory::data_type::s32:
      return DType::i32;
    case dnnl::memory::data_type::u8:
      return DType::u8;
    default:
      throw Error(ErrorCode::unsupported, "oneDNN asks for an element type that weir does not have");
  }
}

dnnl::memory::desc to_desc(const Shape& shape, DType dtype) {
  const dnnl::memory::dims dims = logical_dims(shape.dims, shape.axes);
  if (shape.layout == "any") return {dims, to_dnnl(dtype), Tag::any};
  if (blocks_at(shape.layout) == shape.layout.size()) return plain_desc(shape, dims, to_dnnl(dtype));
  const NamedTag* tag = find_tag(shape.layout, shape.axes);
  if (!tag)
    throw Error(ErrorCode::invalid_data,
                "oneDNN has no layout \"" + shape.layout + "\" over axes \"" + shape.axes + "\"");
  return {dims, to_dnnl(dtype), tag->tag};
}

std::string layout_of(const dnnl::memory::desc& desc, const std::string& axes) {
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return {};
  const std::string blocks = blocks_of(desc), logical = logical_axes(axes);
  if (blocks.empty() && likeness(desc, canonical_desc(desc, axes)) == Likeness::same) return axes;
  std::string found;
  for (const NamedTag& tag : tags_of(axes.size())) {
    const Likeness like = tag.blocks == blocks ? likeness(desc, tag.tag) : Likeness::none;
    const bool better = like == Likeness::same || (like == Likeness::same_bytes && found.empty());
    if (better) found = translate(tag.name, numbered(axes.size()), logical);
    if (like == Likeness::same) break;
  }
  return found;
}

std::vector<std::string> layout_words(const std::string& axes) {
  std::vector<std::string> words;
  for (const NamedTag& tag : tags_of(axes.size()))
    words.push_back(translate(tag.name, numbered(axes.size()), logical_axes(axes)));
  std::stable_partition(words.begin(), words.end(),
                        [](const std::string& word) { return blocks_at(word) == word.size(); });
  return words;
}

std::string settled_layout(const Shape& shape) { return layout_of(to_desc(shape, DType::f32), shape.axes); }

}  // namespace weir
