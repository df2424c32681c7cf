// Runs one pass: skip if switched off, verify the result, dump it where asked.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "compiler/compile.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {

class PassRunner {
 public:
  /// program: "train 32", "evaluate 32", for dumps.
  PassRunner(const CompileOptions& options, std::string program) : options_(options), program_(std::move(program)) {}

  template <class Pass, class... Arguments>
  auto operator()(std::string_view name, Pass&& pass, Arguments&&... arguments) const {
    auto result = pass(std::forward<Arguments>(arguments)...);
    verify(result);
    if (wants(name)) options_.dump(name, program_, print(result));
    return result;
  }

  /// An optional pass: left out where the user says so; its result may not change any number.
  template <class Pass, class Stage>
  Stage optional(std::string_view name, Pass&& pass, Stage stage) const {
    if (options_.without.contains(std::string(name))) return stage;
    return (*this)(name, std::forward<Pass>(pass), std::move(stage));
  }

 private:
  bool wants(std::string_view name) const {
    return options_.dump && (options_.dump_after.contains(std::string(name)) || options_.dump_after.contains("all"));
  }

  const CompileOptions& options_;
  std::string program_;
};

}  // namespace weir
