// What the machine at hand can do at most, measured: the other side of recipe_cost.hpp. A step that takes `flops` and
// moves `bytes` cannot be done in less than seconds_for(flops, bytes).
#pragma once

#include <string>
#include <vector>

namespace weir {

struct MemoryLevel {
  double bytes = 0;             ///< what was touched
  double bytes_per_second = 0;  ///< read and written, over again
};

struct Machine {
  int threads = 1;
  double flops_per_second = 0;           ///< of independent fused multiply-adds in the widest registers, each two
  std::vector<MemoryLevel> levels = {};  ///< smallest first

  /// The rate of the smallest level that holds so many bytes, or of the largest.
  double bytes_per_second(double bytes) const;
  double seconds_for(double flops, double bytes) const;
};

/// Takes a fraction of a second. The best of several measurements: what others do on the machine only slows them.
Machine measure_machine(int threads);

/// As the system names it, or "unknown".
std::string cpu_model();

}  // namespace weir
