// weir doctor: what this machine gives weir, and what is missing.
#include <filesystem>

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/text.hpp"
#include "runtime/target.hpp"

namespace weir::cli {
namespace {

constexpr const char* fashion_mnist = "/usr/share/datasets/fashion-mnist";

const char* compiler_name() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

/// The files the demo reads, of those that are there.
std::vector<std::string> demo_files() {
  std::vector<std::string> present;
  for (const char* name :
       {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
    for (const char* extension : {"", ".gz"}) {
      std::error_code ignored;
      const auto path = std::filesystem::path(fashion_mnist) / (std::string(name) + extension);
      if (std::filesystem::is_regular_file(path, ignored)) {
        present.push_back(path.string());
        break;
      }
    }
  return present;
}

}  // namespace

int run_doctor(const Console& console) {
  const int cpus = usable_cpus();
  const Fingerprint fingerprint = host_target(cpus)->fingerprint();
  const bool demo = demo_files().size() == 4;
  if (console.json) {
    console.out << Json{{"weir", WEIR_VERSION},
                        {"compiler", compiler_name()},
                        {"library", fingerprint.library},
                        {"instructions", fingerprint.instructions},
                        {"threads", cpus},
                        {"fashion_mnist", demo ? Json(fashion_mnist) : Json()}}
                       .dump(2)
                << '\n';
    return done;
  }
  console.out << table_text(
      {{"weir", WEIR_VERSION},
       {"built by", compiler_name()},
       {"library", fingerprint.library},
       {"instructions", fingerprint.instructions},
       {"threads", fmt::format("{} (usable CPUs: affinity and quota)", cpus)},
       {"demo data",
        demo ? fashion_mnist : fmt::format("not in {}: install Debian's dataset-fashion-mnist", fashion_mnist)}},
      "ll");
  return done;
}

}  // namespace weir::cli
