// Layout words: our packing against oneDNN's reorders for every word the library knows, and words that are none.
#include <algorithm>

#include "runtime/error.hpp"
#include "runtime/onednn/host_target.hpp"
#include "runtime/onednn/layout_words.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// Odd extents, so that every block is padded, and the same again with extents of 1 here and there.
std::vector<Dims> extents_of(const std::string& axes) {
  const Dims odd{3, 5, 2, 7, 3}, ones{1, 5, 1, 7, 1}, other{3, 1, 1, 1, 17};
  std::vector<Dims> result;
  for (const Dims& dims : {odd, ones, other})
    result.push_back(Dims(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axes.size())));
  return result;
}

Recipe reorder(const Dims& dims, const std::string& axes, const std::string& from, const std::string& to) {
  return {"reorder", {read("src", dims, axes, from), write("dst", dims, axes, to)}, {}, 1};
}

bool is_rejected(const Shape& shape) {
  try {
    check_layout(shape);
    physical_count(shape);
  } catch (const Error& error) {
    CHECK(error.code() != ErrorCode::internal);
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("oneDNN packs and unpacks every layout that it has a word for as we do") {
  std::size_t words = 0;
  for (const std::string axes : {"o", "nc", "io", "nwc", "nhwc", "hwio", "wio", "ndhwc", "hwigo"})
    for (const std::string& word : layout_words(axes))
      for (const Dims& dims : extents_of(axes)) {
        const Values values = numbers(element_count(dims));
        Run there(reorder(dims, axes, axes, word));
        CHECK_MESSAGE(there.set("src", values).run().get("dst") == values, to_string(there.recipe()));
        Run back(reorder(dims, axes, word, axes));
        CHECK_MESSAGE(back.set("src", values).run().get("dst") == values, to_string(back.recipe()));
        ++words;
      }
  CHECK(words > 1000);
}

TEST_CASE("a descriptor is named by a word of the same bytes") {
  for (const std::string axes : {"nc", "io", "nwc", "nhwc", "hwio", "ndhwc", "hwigo"})
    for (const std::string& word : layout_words(axes))
      for (const Dims& dims : extents_of(axes)) {
        const Shape shape{dims, axes, word}, settled{dims, axes, settled_layout(shape)};
        REQUIRE_MESSAGE(!settled.layout.empty(), axes << " " << word);
        REQUIRE(physical_count(shape) == physical_count(settled));
        Values dense = numbers(element_count(dims)), one(static_cast<std::size_t>(physical_count(shape))), other = one;
        pack(shape, dense.data(), one.data());
        pack(settled, dense.data(), other.data());
        CHECK_MESSAGE(one == other, axes << " " << to_string(dims) << " " << word << " " << settled.layout);
      }
}

TEST_CASE("words without extents of 1 name themselves") {
  for (const std::string axes : {"io", "nhwc", "hwio", "hwigo"})
    for (const std::string& word : layout_words(axes)) {
      const Dims dims{64, 128, 192, 256, 128};
      CHECK(settled_layout({Dims(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axes.size())), axes, word}) ==
            word);
    }
}

TEST_CASE("dense is the canonical order up to axes of extent 1") {
  CHECK(is_dense({{2, 3, 4, 5}, "nhwc", "nhwc"}));
  CHECK_FALSE(is_dense({{2, 3, 4, 5}, "nhwc", "nchw"}));
  CHECK(is_dense({{2, 3, 4, 1}, "nhwc", "nchw"}));
  CHECK_FALSE(is_dense({{2, 3, 4, 16}, "nhwc", "nChw16c"}));
  CHECK(is_dense({{}, "", ""}));
}

TEST_CASE("where an entry lies is the sum of the places of its indices") {
  for (const std::string axes : {"o", "io", "hwio", "hwigo"})
    for (const std::string& word : layout_words(axes))
      for (const Dims& dims : extents_of(axes)) {
        const Shape shape{dims, axes, word};
        const Values dense = numbers(element_count(dims));
        Values packed(static_cast<std::size_t>(physical_count(shape))), gathered;
        pack(shape, dense.data(), packed.data());
        std::vector<std::int64_t> places{0};
        for (std::size_t axis = 0; axis < dims.size(); ++axis) {
          const std::vector<std::int64_t> along = places_along(shape, axis);
          REQUIRE(static_cast<std::int64_t>(along.size()) >= dims[axis]);
          std::vector<std::int64_t> sums;
          for (const std::int64_t place : places)
            for (std::int64_t i = 0; i < dims[axis]; ++i) sums.push_back(place + along[static_cast<std::size_t>(i)]);
          places = std::move(sums);
        }
        for (const std::int64_t place : places) gathered.push_back(packed.at(static_cast<std::size_t>(place)));
        CHECK_MESSAGE(gathered == dense, axes << " " << to_string(dims) << " " << word);
      }
}

TEST_CASE("packing fills the padding with zeros, whatever was there") {
  const Shape shape{{2, 3, 2, 11}, "nhwc", "nChw8c"};
  const Values dense = numbers(element_count(shape.dims));
  Values packed(static_cast<std::size_t>(physical_count(shape)), 7.0f);
  pack(shape, dense.data(), packed.data());
  CHECK(std::count(packed.begin(), packed.end(), 0.0f) == 2 * 3 * 2 * 5);
  CHECK(std::count(packed.begin(), packed.end(), 7.0f) == 0);
}

TEST_CASE("padding counts in the physical size") {
  CHECK(physical_count({{2, 3, 3, 5}, "nhwc", "nChw16c"}) == 2 * 3 * 3 * 16);
  CHECK(physical_count({{3, 3, 5, 17}, "hwio", "OIhw16i16o"}) == 3 * 3 * 16 * 32);
  CHECK(physical_count({{}, "", ""}) == 1);
}

TEST_CASE("words that are no layouts are rejected") {
  const Dims dims{2, 3, 4, 5};
  for (const std::string word : {"", "any", "nhw", "nhwcc", "nhwk", "nChwc", "nchw16c", "nChw16", "nChw16w", "16cnhw",
                                 "nChw99999c", "nChw0c", "nChw16c1", "NHWC", "n hwc", "nhwc\n", "nCw16ch"})
    CHECK_MESSAGE(is_rejected({dims, "nhwc", word}), word);
  CHECK(is_rejected({{2, 3}, "nhwc", "nhwc"}));
  CHECK(is_rejected({{2, 3}, "nn", "nn"}));
  CHECK(is_rejected({{1 << 30, 1 << 30, 4, 4}, "nhwc", "nhwc"}));
  CHECK(is_rejected({{-1, 3}, "nc", "nc"}));
}

TEST_CASE("nested blocks cannot overflow the size") {
  std::string word = "nC";
  for (int i = 0; i < 12; ++i) word += "4096c";
  CHECK(is_rejected({{2, 3}, "nc", word}));
}
