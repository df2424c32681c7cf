// How many CPUs a process may use: the affinity mask, bounded by the quota of its control group.
#pragma once

#include <filesystem>

namespace weir {

/// The smallest quota on the way from the process's control group to the root, in whole CPUs (rounded down, at least
/// 1); 0 where there is none. membership: /proc/self/cgroup; mount: /sys/fs/cgroup. Reads version 2 (cpu.max) and
/// version 1 (cpu.cfs_quota_us).
int quota_cpus(const std::filesystem::path& membership, const std::filesystem::path& mount);

}  // namespace weir
