// Threads: every index once, teams as asked for, CPUs as granted.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include <doctest/doctest.h>

#include "runtime/onednn/cpus.hpp"
#include "runtime/parallel.hpp"
#include "runtime/target.hpp"

using namespace weir;
namespace fs = std::filesystem;

namespace {

/// A folder that is gone at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("weir-cpus-" + std::to_string(std::random_device{}()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path write(const fs::path& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

TEST_CASE("parallel calls its body once for each index") {
  for (int threads : {1, 2, 3, 7}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(threads));
    std::atomic<bool> counts_agree = true;
    parallel(threads, [&](int index, int count) {
      if (count != threads) counts_agree = false;
      ++calls.at(static_cast<std::size_t>(index));
    });
    CHECK(counts_agree);
    for (const auto& call : calls) CHECK(call == 1);
  }
}

TEST_CASE("a phase begins when all of the one before have ended, on any number of threads") {
  constexpr int rounds = 200;
  for (int threads : {1, 2, 3, 7}) {
    std::atomic<int> first = 0, second = 0, third = 0, early = 0;
    for (int round = 1; round <= rounds; ++round)
      parallel(
          threads, [&](int, int) { ++first; },
          [&](int, int) {
            if (first != round * threads) ++early;
            ++second;
          },
          [&](int, int count) {
            if (second != round * threads || count != threads) ++early;
            ++third;
          });
    CHECK(early == 0);
    CHECK(third == rounds * threads);
  }
}

TEST_CASE("two indices run on two threads, one on the caller's") {
  std::set<std::thread::id> ids;
  std::thread::id seen[2];
  parallel(2, [&](int index, int) { seen[index] = std::this_thread::get_id(); });
  CHECK(seen[0] == std::this_thread::get_id());
  CHECK(seen[1] != seen[0]);
  parallel(1, [&](int, int) { seen[1] = std::this_thread::get_id(); });
  CHECK(seen[1] == std::this_thread::get_id());
}

TEST_CASE("a thread scope ends where it ends, also nested") {
  const ThreadScope outer(1);
  { const ThreadScope inner(2); }
  std::atomic<int> calls = 0;
  parallel(2, [&](int, int) { ++calls; });
  CHECK(calls == 2);
}

TEST_CASE("usable CPUs are at least one and at most what the machine has") {
  CHECK(usable_cpus() >= 1);
  CHECK(usable_cpus() <= static_cast<int>(std::thread::hardware_concurrency()));
}

TEST_CASE("the quota of a control group bounds the CPUs, wherever on the way to the root it stands") {
  const Folder folder;
  const fs::path membership = folder.write("membership", "0::/outer/inner\n");
  const fs::path mount = folder.path() / "mount";
  CHECK(quota_cpus(membership, mount) == 0);
  folder.write("mount/outer/inner/cpu.max", "max 100000\n");
  CHECK(quota_cpus(membership, mount) == 0);
  folder.write("mount/outer/cpu.max", "350000 100000\n");
  CHECK(quota_cpus(membership, mount) == 3);
  folder.write("mount/outer/inner/cpu.max", "200000 100000\n");
  CHECK(quota_cpus(membership, mount) == 2);
  folder.write("mount/cpu.max", "20000 100000\n");
  CHECK(quota_cpus(membership, mount) == 1);
}

TEST_CASE("the quota of version 1 is read too") {
  const Folder folder;
  const fs::path membership =
      folder.write("membership", "12:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\nnonsense\n");
  const fs::path mount = folder.path() / "mount";
  folder.write("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  folder.write("mount/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  CHECK(quota_cpus(membership, mount) == 0);
  folder.write("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "450000\n");
  CHECK(quota_cpus(membership, mount) == 4);
  CHECK(quota_cpus(folder.path() / "absent", mount) == 0);
}
