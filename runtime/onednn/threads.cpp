// Threads through libgomp, which oneDNN uses too: one team for both, whatever compiler built us. GOMP_parallel is what
// GCC translates `#pragma omp parallel` to, and stable since GCC 4.9, and GOMP_barrier what it translates the barrier
// to; called by name they need neither pragmas nor clang's own runtime.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "runtime/onednn/cpus.hpp"
#include "runtime/parallel.hpp"
#include "runtime/target.hpp"

extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);
void GOMP_barrier();
void omp_set_num_threads(int);
int omp_get_max_threads();
int omp_get_num_threads();
int omp_get_thread_num();
}

namespace weir {
namespace {

struct Region {
  std::span<const TeamPhase> phases;
  int count;
};

/// The team may be smaller than asked for (a process-wide thread limit): then a thread takes several indices.
void run_region(void* data) {
  const Region& region = *static_cast<const Region*>(data);
  for (const TeamPhase& phase : region.phases) {
    if (&phase != &region.phases.front()) GOMP_barrier();
    for (int index = omp_get_thread_num(); index < region.count; index += omp_get_num_threads())
      phase.body(phase.context, index, region.count);
  }
}

/// "200000 100000", "max 100000": CPUs, or 0 where there is no bound.
double cpus_of(std::istream& quota, std::istream& period) {
  double granted = 0, interval = 0;
  if (!(quota >> granted) || !(period >> interval) || granted <= 0 || interval <= 0) return 0;
  return granted / interval;
}

double version_2(const std::filesystem::path& folder) {
  std::ifstream file(folder / "cpu.max");
  return cpus_of(file, file);
}

double version_1(const std::filesystem::path& folder) {
  std::ifstream quota(folder / "cpu.cfs_quota_us"), period(folder / "cpu.cfs_period_us");
  return cpus_of(quota, period);
}

/// From `group` up to the root. A container may see only its own part of the hierarchy as the mount's root, so folders
/// that do not exist are passed over.
double least_on_the_way(const std::filesystem::path& root, std::filesystem::path group,
                        double (*read)(const std::filesystem::path&)) {
  double least = 0;
  for (group = group.relative_path();; group = group.parent_path()) {
    const double cpus = read(root / group);
    if (cpus > 0) least = least > 0 ? std::min(least, cpus) : cpus;
    if (group.empty()) return least;
  }
}

bool lists_cpu(const std::string& controllers) {
  std::stringstream words(controllers);
  for (std::string word; std::getline(words, word, ',');)
    if (word == "cpu") return true;
  return false;
}

}  // namespace

int quota_cpus(const std::filesystem::path& membership, const std::filesystem::path& mount) {
  std::ifstream file(membership);
  double least = 0;
  for (std::string line; std::getline(file, line);) {  // "hierarchy:controllers:path"
    const auto first = line.find(':'), second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    double cpus = 0;
    if (controllers.empty()) cpus = least_on_the_way(mount, group, version_2);
    if (lists_cpu(controllers)) {
      cpus = least_on_the_way(mount / controllers, group, version_1);
      if (cpus == 0) cpus = least_on_the_way(mount / "cpu", group, version_1);
    }
    if (cpus > 0) least = least > 0 ? std::min(least, cpus) : cpus;
  }
  if (least == 0) return 0;
  return static_cast<int>(std::clamp(std::floor(least), 1.0, 1e6));
}

int usable_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int cpus = sched_getaffinity(0, sizeof allowed, &allowed) == 0
                 ? CPU_COUNT(&allowed)  // fails above 1024 CPUs
                 : static_cast<int>(std::thread::hardware_concurrency());
  const int quota = quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  if (quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

void run_phases(int threads, std::span<const TeamPhase> phases) {
  if (threads <= 1) {
    for (const TeamPhase& phase : phases) phase.body(phase.context, 0, 1);
    return;
  }
  Region region{phases, threads};
  GOMP_parallel(run_region, &region, static_cast<unsigned>(threads), 0);
}

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
ThreadScope::~ThreadScope() { omp_set_num_threads(before_); }

}  // namespace weir
