#include "compiler/cli/weight_files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/files.hpp"
#include "runtime/formats/safetensors.hpp"

namespace weir::cli {

std::map<std::string, Tensor> read_weights(const std::vector<std::string>& files) {
  std::map<std::string, Tensor> merged;
  std::map<std::string, std::string> origin;
  for (const std::string& file : files) {
    std::ifstream stream = open_file(file, "weights");
    for (auto& [name, tensor] : read_safetensors(stream, file)) {
      const auto [first, added] = origin.emplace(name, file);
      if (!added)
        throw Error(ErrorCode::invalid_data,
                    fmt::format("tensor \"{}\" is in {} and in {}; each parameter is given exactly once", name,
                                first->second, file));
      merged.emplace(name, std::move(tensor));
    }
  }
  return merged;
}

void load_weights(Session& session, const WeightOptions& options, const Console& console) {
  if (options.files.empty()) {
    if (options.partial) throw Error(ErrorCode::invalid_argument, "--partial is about --weights, and there are none");
    return;
  }
  const std::vector<std::string> kept = session.load_weights(read_weights(options.files), options.partial);
  if (!kept.empty())
    console.err << fmt::format("warning: not in the weights, so at their initial values: {}\n", fmt::join(kept, ", "));
}

void tell_untrained(const WeightOptions& options, const Console& console) {
  if (options.files.empty()) console.err << "warning: no --weights, so every parameter has its initial value\n";
}

}  // namespace weir::cli
