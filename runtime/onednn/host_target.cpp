#include "runtime/onednn/host_target.hpp"

#include "runtime/error.hpp"
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/estimate.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/onednn/ways.hpp"

namespace weir {
namespace {

class HostTarget : public Target {
 public:
  HostTarget(int threads, ActivationLayout activations) : threads_(threads), activations_(activations) {}

  Recipe close(const Recipe& open) const override { return close_way(usual_way(open)); }

  std::string activation_layout(const Dims& dims, const std::string& axes) const override {
    if (axes != "nhwc") return axes;
    switch (activations_) {
      case ActivationLayout::nhwc:
        return axes;
      case ActivationLayout::blocked_8:
        return blocked(dims, 8);
      case ActivationLayout::blocked_16:
        return blocked(dims, 16);
      case ActivationLayout::by_machine:
        break;
    }
    return prefers_blocked_images() ? blocked(dims, 8) : axes;
  }

  /// AVX-512 and AVX2 have fast kernels for both kinds of layout; other machines do not.
  std::string other_activation_layout(const Dims& dims, const std::string& axes) const override {
    if (axes != "nhwc" || activations_ != ActivationLayout::by_machine) return activation_layout(dims, axes);
    if (prefers_blocked_images()) return axes;
    return has_widest_vectors() ? blocked(dims, 16) : axes;
  }

  double seconds(const Recipe& recipe) const override { return estimated_seconds(usual_way(recipe), threads_); }

  std::string implementation(const Recipe& closed) const override {
    return is_primitive(closed.kernel) ? primitive_implementation(closed) : closed.kernel;
  }

  Fingerprint fingerprint() const override { return {library_version(), instruction_set(), threads_}; }

 private:
  static std::string blocked(const Dims& dims, std::int64_t block) {
    return dims.at(3) % block == 0 ? "nChw" + std::to_string(block) + "c" : "nhwc";
  }

  int threads_;
  ActivationLayout activations_;
};

}  // namespace

std::unique_ptr<Target> host_target(int threads, ActivationLayout activations) {
  if (threads < 1)
    throw Error(ErrorCode::invalid_argument,
                "the number of threads is " + std::to_string(threads) + "; it must be at least 1");
  return std::make_unique<HostTarget>(threads, activations);
}

std::unique_ptr<Target> host_target(int threads) { return host_target(threads, ActivationLayout::by_machine); }

}  // namespace weir
