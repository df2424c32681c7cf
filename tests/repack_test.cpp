// Copies into other layouts against pack and unpack, for every word the library knows and many sizes, and many
// tensors in one step.
#include <doctest/doctest.h>

#include "runtime/onednn/layout_words.hpp"
#include "tests/message_of.hpp"
#include "tests/run_recipe.hpp"

namespace weir {
namespace {

using namespace test;

struct Copied {
  Dims dims;
  std::string axes, from, to;
};

std::string suffix(std::size_t tensor) { return tensor == 0 ? "" : "_" + std::to_string(tensor + 1); }

Recipe repack(const std::vector<Copied>& tensors, int threads = 1) {
  Recipe recipe{"repack", {}, {}, threads};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    recipe.operands.push_back(read("src" + suffix(i), tensors[i].dims, tensors[i].axes, tensors[i].from));
    recipe.operands.push_back(write("dst" + suffix(i), tensors[i].dims, tensors[i].axes, tensors[i].to));
  }
  return recipe;
}

/// Get looks at the padding too.
void check_copies(const std::vector<Copied>& tensors, int threads = 1) {
  Run run(repack(tensors, threads));
  for (std::size_t i = 0; i < tensors.size(); ++i)
    run.set("src" + suffix(i), numbers(element_count(tensors[i].dims), static_cast<int>(i)));
  run.run();
  for (std::size_t i = 0; i < tensors.size(); ++i)
    CHECK_MESSAGE(run.get("dst" + suffix(i)) == numbers(element_count(tensors[i].dims), static_cast<int>(i)),
                  tensors[i].axes << to_string(tensors[i].dims) << " " << tensors[i].from << " to " << tensors[i].to);
}

void check_copy(const Dims& dims, const std::string& axes, const std::string& from, const std::string& to) {
  check_copies({{dims, axes, from, to}});
}

/// The copies of a step of mobilenet_v2 and more that are odd.
std::vector<Copied> many() {
  return {{{1, 1, 96, 576}, "hwio", "hwio", "Ihwo48i"},
          {{1, 1, 96, 576}, "hwio", "hwio", "Ohwi48o"},
          {{3, 3, 40, 70}, "hwio", "OIhw16i16o", "Ihwo48i"},
          {{3, 3, 1, 1, 100}, "hwiog", "Goihw16g", "hwioG16g"},
          {{7}, "o", "o", "o"},
          {{301, 203}, "io", "io", "oi"},
          {{301, 203}, "io", "oi", "IO8i4o"},
          {{1, 1, 1, 1}, "hwio", "hwio", "OIhw8i8o"},
          {{5, 5, 3, 24}, "hwio", "Ohwi16o", "OIhw4i16o4i"},
          {{70000}, "o", "o", "O16o"}};
}

}  // namespace

TEST_CASE("a tensor is copied between any two layouts, whatever its sizes") {
  std::size_t copies = 0;
  for (const std::string axes : {"io", "hwio", "hwigo", "nhwc"}) {
    const std::vector<std::string> words = layout_words(axes);
    for (std::size_t i = 0; i < words.size(); ++i) {
      // each word with the canonical one both ways, and with another from far away in the list
      const std::string& other = words[(i * 7 + words.size() / 2) % words.size()];
      for (const Dims& dims : {Dims{3, 2, 5, 19, 3}, Dims{1, 1, 17, 1, 1}, Dims{2, 1, 9, 33, 16}}) {
        const Dims here(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axes.size()));
        check_copy(here, axes, axes, words[i]);
        check_copy(here, axes, words[i], axes);
        check_copy(here, axes, words[i], other);
        copies += 3;
      }
    }
  }
  CHECK(copies > 1000);
}

TEST_CASE("whole blocks, tails of blocks and blocks larger than the extent, side by side and turned") {
  const std::vector<std::string> layouts = {
      "hwio",       "oihw",   "iohw",     "hwoi",     "Ohwi48o",    "Ihwo48i",   "Ohwi32o",    "Ihwo16i",    "Owhi8o",
      "OIhw16i16o", "hwIo8i", "OIhw8i8o", "OIhw8o8i", "IOhw16o16i", "OIhw3i10o", "hOwI9i6o2i", "OIhw4i16o4i"};
  for (const std::int64_t in : {1, 7, 16, 50})
    for (const std::int64_t out : {1, 8, 47, 64})
      for (const std::string& from : layouts)
        for (const std::string& to : layouts) check_copy({2, 3, in, out}, "hwio", from, to);
}

TEST_CASE("one step copies many tensors, with the same bits on any number of threads") {
  for (const int threads : {1, 2, 3}) check_copies(many(), threads);
}

TEST_CASE("what is too large for the caches is copied like the rest") {
  const Dims dims{1, 1, 720, 1500};
  for (const int threads : {1, 3})
    check_copies({{dims, "hwio", "hwio", "Ohwi48o"},
                  {dims, "hwio", "OIhw16i16o", "Ihwo48i"},
                  {dims, "hwio", "hwio", "Ihwo16i"},
                  {dims, "hwio", "OIhw16i16o", "oihw"}},
                 threads);
}

TEST_CASE("a further tensor to copy must be complete, and its two forms the same tensor") {
  const std::vector<Copied> two = {{{3, 5}, "io", "io", "oi"}, {{4, 7}, "io", "io", "OI4o4i"}};
  const auto refused = [&](const auto& change) {
    Recipe recipe = repack(two);
    change(recipe);
    return message_of([&] { validate_recipe(recipe); });
  };
  const auto holds = [](const std::string& message, const char* words) {
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  };
  CHECK(refused([](Recipe&) {}) == "(nothing was thrown)");
  holds(refused([](Recipe& r) { r.operands.pop_back(); }), "operand \"dst_2\" is missing");
  holds(refused([](Recipe& r) { r.operands[2].role = "src_3"; }), "takes no operand");
  holds(refused([](Recipe& r) { r.operands[3].shape.dims[1] = 8; }), "\"dst_2\"");
  holds(refused([](Recipe& r) { r.operands[1].shape.axes = "oi"; }), "\"dst\"");
  holds(refused([](Recipe& r) { r.operands[1].dtype = DType::i32; }), "operand \"dst\" must be f32");
  holds(refused([](Recipe& r) { r.operands[0].access = Access::update; }), "operand \"src\" must be read");
  holds(refused([](Recipe& r) { r.operands[1].shape.layout = "IO"; }), "layout \"IO\"");
  holds(refused([](Recipe& r) { r.attributes.set("fast", true); }), "fast");
  holds(message_of([] { validate_recipe({"repack"}); }), "operand \"src\" is missing");
}

}  // namespace weir
