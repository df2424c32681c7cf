// Commands called in process, in a folder of their own: what the tests of the command line share.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/cli/program.hpp"
#include "runtime/formats/npy_writer.hpp"
#include "runtime/formats/safetensors.hpp"

namespace weir::command_line {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

inline const std::string small_spec = R"({
  "format": "weir/1", "name": "small",
  "inputs": {"x": {"shape": [3]}, "label": {"shape": [], "dtype": "i32"}},
  "layers": [
    {"name": "hidden", "type": "dense", "units": 5, "activation": "relu", "from": "x"},
    {"name": "output", "type": "dense", "units": 4, "activation": "softmax"}
  ],
  "loss": {"terms": {
    "tame": {"type": "mean_absolute_error", "at": "hidden", "target": {"constant": 0}, "weight": 0.1},
    "final": {"type": "categorical_crossentropy", "at": "output", "target": {"input": "label", "one_hot": 4}}
  }},
  "train": {"optimizer": {"type": "adam", "learning_rate": 0.01}, "batch_size": 8, "epochs": 2,
            "metrics": {"accuracy": {"type": "categorical_accuracy", "at": "output", )"
                                      R"("target": {"input": "label", "one_hot": 4}}}},
  "data": {"train": {"x": {"random": 20}, "label": {"random": 20, "classes": 4}},
           "validation": {"x": {"random": 9}, "label": {"random": 9, "classes": 4}}}
})";

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

struct Outcome {
  int code;
  std::string out, err;
  bool says(const std::string& part) const { return err.find(part) != std::string::npos; }
  bool prints(const std::string& part) const { return out.find(part) != std::string::npos; }
};

/// A folder that goes away, with a specification in it; commands run with absolute paths.
class Workspace {
 public:
  Workspace() {
    std::string pattern = (fs::temp_directory_path() / "weir-cli-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    folder_ = pattern;
    write("small.weir.json", small_spec);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    REQUIRE_MESSAGE(file.good(), name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<json> lines(const std::string& name) const {
    std::istringstream text(read(name));
    std::vector<json> all;
    for (std::string line; std::getline(text, line);) all.push_back(json::parse(line));
    return all;
  }
  bool has(const std::string& name) const { return fs::exists(folder_ / name); }

  std::string model() const { return path("small.weir.json"); }
  std::string plan(std::vector<std::string> flags = {}) const {
    std::vector<std::string> arguments{"compile", model(), "-o", path("small.plan"), "--threads", "1"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    std::ostringstream out, err;
    REQUIRE_MESSAGE(cli::run_program(arguments, {out, err}) == 0, err.str());
    return path("small.plan");
  }

 private:
  fs::path folder_;
};

inline Outcome run(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = cli::run_program(arguments, {out, err});
  return {code, out.str(), err.str()};
}

inline Outcome train(const Workspace& work, std::vector<std::string> flags = {}) {
  std::vector<std::string> arguments{"train", work.model(), "--out", work.path("run"), "--threads", "1"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return run(arguments);
}

inline std::map<std::string, Tensor> weights(const Workspace& work, const std::string& name) {
  std::ifstream file(work.path(name), std::ios::binary);
  REQUIRE(file.good());
  return read_safetensors(file, name);
}

inline Tensor tensor(const Dims& dims, float first) {
  Tensor result(DType::f32, dims);
  for (std::int64_t i = 0; i < result.count(); ++i) result.data<float>()[i] = first + static_cast<float>(i) * 0.01f;
  return result;
}

inline Tensor classes(std::vector<std::int32_t> values) {
  Tensor result(DType::i32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), result.data<std::int32_t>());
  return result;
}

}  // namespace weir::command_line
