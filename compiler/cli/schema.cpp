// weir schema: the JSON Schema of the format, for editors.
#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/spec/spec.hpp"

namespace weir::cli {

int run_schema(const Console& console) {
  const std::string schema = emit_schema();
  console.out << schema;
  if (!schema.ends_with('\n')) console.out << '\n';
  return done;
}

}  // namespace weir::cli
