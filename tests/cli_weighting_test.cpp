// What the command line says about masks, class numbers and words: whole commands on files.
#include <doctest/doctest.h>

#include "tests/command_line.hpp"

using namespace weir;
using namespace weir::command_line;

namespace {

/// The small model with a mask on its final loss, labels and mask from files, and no metric, which would read labels
/// without a mask.
std::string masked() {
  std::string text = replaced(small_spec, R"("inputs": {)", R"("inputs": {"seen": {"shape": [], "dtype": "i32"}, )");
  text = replaced(text, R"("one_hot": 4}}
  }})",
                  R"("one_hot": 4}, "mask": {"input": "seen"}}
  }})");
  text = replaced(text, R"("train": {"x": {"random": 20}, "label": {"random": 20, "classes": 4}})",
                  R"("train": {"x": {"random": 10}, "label": "label.npy", "seen": "seen.npy"})");
  const std::size_t validation = text.find(R"(,
           "validation")");
  text.replace(validation, std::string::npos, "}}");
  const std::size_t metrics = text.find(R"("metrics")"), end = text.find("}}}}", metrics);
  return text.replace(metrics, end + 3 - metrics, R"("metrics": {})");
}

void write_data(const Workspace& work, std::vector<std::int32_t> labels, std::vector<std::int32_t> seen) {
  work.write("small.weir.json", masked());
  write_npy(work.path("label.npy"), classes(std::move(labels)));
  write_npy(work.path("seen.npy"), classes(std::move(seen)));
}

}  // namespace

TEST_CASE("a class outside the range is exit 1 with input and row, behind a mask of 0 it passes") {
  const Workspace work;
  const std::vector<std::int32_t> labels{0, 1, 2, 3, 0, 1, 9, 3, 0, 1};
  write_data(work, labels, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  const Outcome wrong = train(work);
  CHECK(wrong.code == 1);
  CHECK(wrong.says("input \"label\""));
  CHECK(wrong.says("sample 6"));
  CHECK(wrong.says("class 9"));
  CHECK(!work.has("run"));
  write_data(work, labels, {1, 1, 1, 1, 1, 1, 0, 1, 1, 1});
  CHECK(run({"show", work.model(), "--as", "dot"}).prints("\"seen\" -> \"final\""));
  const Outcome hidden = train(work);
  CHECK_MESSAGE(hidden.code == 0, hidden.err);
  CHECK(work.has("run/last.safetensors"));
}

TEST_CASE("an ignored class passes, any other outside the range does not, on both sides of a split") {
  const Workspace work;
  const auto with_classes = [&](std::int32_t first, std::int32_t last) {
    write_data(work, {first, 1, 2, 3, 0, 1, 2, 3, 0, last}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
    std::string text = replaced(masked(), R"("mask": {"input": "seen"})", R"("ignore_class": 255)");
    text = replaced(text, R"(, "seen": "seen.npy"})", R"(}, "validation_split": 0.3)");
    work.write("small.weir.json", text);
    return train(work, {"--force"});
  };
  const Outcome done = with_classes(255, 255);
  CHECK_MESSAGE(done.code == 0, done.err);
  CHECK(with_classes(254, 0).says("sample 0 of"));
  CHECK(with_classes(0, 254).says("holds class 254, but the model knows 0 to 3"));
}

TEST_CASE("a term that had no valid entry in some steps is told once, with their number, at the end") {
  const Workspace work;
  const std::vector<std::int32_t> labels{0, 1, 2, 3, 0, 1, 2, 3, 0, 1};
  write_data(work, labels, {1, 1, 1, 1, 1, 1, 1, 1, 0, 0});  // in file order, the second batch of two is empty
  const Outcome done = train(work, {"--no-shuffle"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  const std::string warning = "warning: \"final\" had no valid entry in 1 of 2 batches: value 0 and no gradient there";
  const std::string all = done.out + done.err;
  CHECK_MESSAGE(all.find(warning) != std::string::npos, all);
  CHECK(all.find("\"tame\" had no valid entry") == std::string::npos);
  CHECK(work.lines("run/metrics.jsonl")[1]["empty"]["final"] == 1);
  write_data(work, labels, {1, 1, 1, 1, 1, 1, 1, 1, 0, 1});
  const Outcome full = train(work, {"--no-shuffle", "--force"});
  CHECK((full.out + full.err).find("no valid entry") == std::string::npos);
}

TEST_CASE("gelu is a layer's word, and what is nearly one is told so") {
  const Workspace work;
  const std::string output = R"({"name": "output", "type": "dense")";
  work.write("small.weir.json",
             replaced(small_spec, output, R"({"name": "bend", "type": "gelu", "approximate": true}, )" + output));
  const Outcome understood = run({"check", work.model()});
  CHECK_MESSAGE(understood.code == 0, understood.err);
  CHECK(run({"show", work.model(), "--threads", "1"}).prints("gelu"));
  for (const char* word : {"Gelu", "gleu", "GELU"}) {
    work.write("small.weir.json",
               replaced(small_spec, output, R"({"name": "bend", "type": ")" + std::string(word) + R"("}, )" + output));
    const Outcome wrong = run({"check", work.model()});
    CHECK(wrong.code == 1);
    CHECK_MESSAGE(wrong.says("\"gelu\""), wrong.err);
  }
}

TEST_CASE("gradient --term takes a regularizer's name, and an unknown one is told what was meant") {
  const Workspace work;
  work.write("small.weir.json",
             replaced(small_spec, R"("units": 5)", R"("units": 5, "kernel_regularizer": {"type": "l2", "l2": 0.25})"));
  REQUIRE(run({"weights", "init", work.model(), "-o", work.path("w")}).code == 0);
  const auto gradient = [&](const std::string& term) {
    return run({"gradient", work.model(), "--weights", work.path("w"), "-o", work.path("g"), "--threads", "1", "--term",
                term});
  };
  const Outcome done = gradient("hidden.kernel_regularizer");
  REQUIRE_MESSAGE(done.code == 0, done.err);
  const auto found = weights(work, "g"), initial = weights(work, "w");
  REQUIRE(found.size() == 1);
  const Tensor &slope = found.at("hidden.kernel"), &value = initial.at("hidden.kernel");
  for (std::int64_t i = 0; i < slope.count(); ++i)
    CHECK(slope.data<float>()[i] == doctest::Approx(0.5 * value.data<float>()[i]).epsilon(1e-5));
  const Outcome wrong = gradient("hidden.kernel_regularizr");
  CHECK(wrong.code == 2);
  CHECK(wrong.says("did you mean \"hidden.kernel_regularizer\"?"));
}

TEST_CASE("a model that trains nothing is refused by check, train and compile, and still predicts") {
  const Workspace work;
  work.write("small.weir.json", replaced(replaced(small_spec, R"("units": 5)", R"("units": 5, "trainable": false)"),
                                         R"("units": 4)", R"("units": 4, "trainable": false)"));
  const Outcome checked = run({"check", work.model()});
  CHECK(checked.code == 1);
  CHECK(checked.says("[E0403]"));
  CHECK(checked.says("final: frozen: layer hidden; frozen: layer output"));
  CHECK(checked.says("tame: frozen: layer hidden"));
  CHECK(train(work).code == 1);
  CHECK(!work.has("run"));
  CHECK(run({"compile", work.model(), "-o", work.path("p")}).code == 1);
  CHECK(run({"predict", work.model(), "-o", work.path("p.npy"), "--threads", "1"}).code == 0);
  CHECK(run({"explain", work.model()}).code == 0);
  CHECK(run({"explain", "E0403"}).prints("no kept term reaches a parameter that learns"));
}
