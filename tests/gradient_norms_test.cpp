#include <cmath>

#include "tests/command_line.hpp"

using namespace weir;
using namespace weir::command_line;

namespace {

Outcome trained(const Workspace& work, const std::string& out, std::vector<std::string> flags = {}) {
  std::vector<std::string> arguments{"train", work.model(), "--threads", "1", "--out", work.path(out)};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return run(arguments);
}

}  // namespace

TEST_CASE("gradient norms change no bit of the training run") {
  const Workspace work;
  REQUIRE(trained(work, "plain").code == 0);
  const Outcome measured = trained(work, "measured", {"--gradient-norms"});
  REQUIRE_MESSAGE(measured.code == 0, measured.err);
  CHECK(work.read("plain/last.safetensors") == work.read("measured/last.safetensors"));
  const auto plain = work.lines("plain/metrics.jsonl");
  auto lines = work.lines("measured/metrics.jsonl");
  REQUIRE(plain.size() == lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i]["event"] != "step") continue;
    CHECK(lines[i].erase("gradient_norms") == 1);
    CHECK(lines[i].erase("gradient_cosines") == 1);
    CHECK(lines[i] == plain[i]);
  }
  CHECK(measured.says("mean gradient norms over 3 steps: tame"));
}

TEST_CASE("a term's norms are of the layers it reaches, times its weight, and grow with it") {
  const Workspace work;
  REQUIRE(trained(work, "one", {"--gradient-norms", "--steps", "1"}).code == 0);
  REQUIRE(trained(work, "ten", {"--gradient-norms", "--steps", "1", "--set", "loss.terms.tame.weight=1"}).code == 0);
  const json one = work.lines("one/metrics.jsonl").front(), ten = work.lines("ten/metrics.jsonl").front();
  CHECK(one["gradient_norms"]["tame"].size() == 1);
  CHECK(one["gradient_norms"]["final"].size() == 2);
  const double small = one["gradient_norms"]["tame"]["hidden"], large = ten["gradient_norms"]["tame"]["hidden"];
  CHECK(small > 0);
  CHECK(large == doctest::Approx(10 * small).epsilon(1e-5));
  CHECK(one["gradient_norms"]["final"] == ten["gradient_norms"]["final"]);
  const double cosine = one["gradient_cosines"]["tame,final"];
  CHECK(std::abs(cosine) <= 1);
  CHECK(one["gradient_cosines"] == ten["gradient_cosines"]);
}

TEST_CASE("only logged steps are measured, and a plan is refused") {
  const Workspace work;
  REQUIRE(trained(work, "run", {"--gradient-norms", "--log-every", "2"}).code == 0);
  for (const json& line : work.lines("run/metrics.jsonl"))
    CHECK(line.contains("gradient_norms") == (line["event"] == "step"));
  const Outcome plan = run({"train", work.plan(), "--threads", "1", "--gradient-norms", "--out", work.path("p")});
  CHECK(plan.code == 2);
  CHECK(plan.says("--gradient-norms on a plan"));
}
