// What the compiler asks of the machine: an open recipe goes in, layouts and scratch come out. No oneDNN type passes
// here.
#pragma once

#include <memory>
#include <string>

#include "runtime/recipe.hpp"

namespace weir {

/// What a plan was made for. A plan with another fingerprint than the machine's is refused.
struct Fingerprint {
  std::string library;       ///< "oneDNN 3.2.0"
  std::string instructions;  ///< "avx512_core", "avx2", …: what the library uses here
  int threads = 1;
  bool operator==(const Fingerprint&) const = default;
};

/// Const members may be called from several threads.
class Target {
 public:
  virtual ~Target() = default;

  /// Fills every layout that is "any" and the types of a workspace, and appends an operand "scratch" where the kernel
  /// needs one. Throws Error(unsupported) where no kernel can do it.
  virtual Recipe close(const Recipe& open) const = 0;

  /// The layout that activations of this shape (canonical axes "nhwc" …) should have in a training program.
  virtual std::string activation_layout(const Dims& dims, const std::string& axes) const = 0;

  /// The second layout that is worth a comparison for them; activation_layout where there is none.
  virtual std::string other_activation_layout(const Dims& dims, const std::string& axes) const {
    return activation_layout(dims, axes);
  }

  /// What a step by this recipe takes, to compare ways with: an estimate, or measured by a target that measures.
  /// Layouts of weights may be open.
  virtual double seconds(const Recipe& recipe) const = 0;

  /// Name of the implementation that a closed recipe runs on ("brgconv:avx512_core", "jit:uni", "pointwise"), for
  /// reports.
  virtual std::string implementation(const Recipe& closed) const = 0;

  virtual Fingerprint fingerprint() const = 0;
  int threads() const { return fingerprint().threads; }
};

/// The machine at hand, through oneDNN. threads ≥ 1.
std::unique_ptr<Target> host_target(int threads);

/// The same answers everywhere: every "any" is the canonical dense layout, no scratch. For plan dumps that must not
/// differ by machine; its plans also run (oneDNN has plain-layout kernels for all of them).
std::unique_ptr<Target> fixed_target(int threads);

/// Usable CPUs: affinity mask and cgroup quota, at least 1.
int usable_cpus();

}  // namespace weir
