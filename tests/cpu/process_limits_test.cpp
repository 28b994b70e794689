// Limits of control groups, from stand-ins for the files that the kernel shows.
#include "cpu/process_limits.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "warploom/device.h"

namespace warploom::cpu {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMiB = 1 << 20;

/// A file system of the files that a test names.
class Root {
 public:
  Root() {
    static int count = 0;
    path_ = fs::temp_directory_path() / ("warploom-root-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n");
  }
  ~Root() { fs::remove_all(path_); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
  }
  /// One hierarchy: this process's group, and which group the mount shows.
  void use_v2(const std::string& group, const std::string& top = "/") const {
    write("proc/self/cgroup", "0::" + group + "\n");
    write("proc/self/mountinfo",
          "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
          "30 22 0:26 " +
              top + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void use_v1(const std::string& group, const std::string& top = "/") const {
    write("proc/self/cgroup", "12:cpuset:/elsewhere\n4:memory:" + group + "\n3:cpu,cpuacct:" + group + "\n0::/elsewhere\n");
    write("proc/self/mountinfo",
          "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
          "33 31 0:30 " +
              top +
              " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
              "35 31 0:32 " +
              top + " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  }
  int cpus() const { return available_cpus(path_); }
  std::uint64_t memory() const { return available_memory(path_); }

 private:
  fs::path path_;
};

/// Of this machine; quotas below are chosen to be less.
int mask() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

std::string bytes(std::uint64_t n) { return std::to_string(n) + "\n"; }

TEST(ProcessLimits, WithoutGroupsTheMachineIsTheLimit) {
  const Root root;
  EXPECT_EQ(root.cpus(), mask());
  EXPECT_EQ(root.memory(), 8192 * kMiB);
  root.write("proc/meminfo", "MemTotal:       16000000 kB\n");
  EXPECT_EQ(root.memory(), UINT64_MAX);
}

TEST(ProcessLimits, QuotasOfVersion2) {
  const Root root;
  root.use_v2("/");
  const auto cpus = [&](const std::string& text) {
    root.write("sys/fs/cgroup/cpu.max", text);
    return root.cpus();
  };
  EXPECT_EQ(cpus("100000 100000\n"), 1);
  EXPECT_EQ(cpus("50000 100000\n"), 1);
  EXPECT_EQ(cpus("1000 100000\n"), 1);
  EXPECT_EQ(cpus("101000 100000\n"), std::min(2, mask()));
  EXPECT_EQ(cpus("400000 200000\n"), std::min(2, mask()));
  EXPECT_EQ(cpus("max 100000\n"), mask());
  EXPECT_EQ(cpus("100000000 100000\n"), mask());
  for (const char* nonsense : {"", "x", "-1 100000", "0 100000", "100000 0", "100000"}) EXPECT_EQ(cpus(nonsense), mask());
}

TEST(ProcessLimits, QuotasOfVersion1) {
  const Root root;
  root.use_v1("/");
  const auto cpus = [&](const std::string& quota, const std::string& period) {
    root.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota);
    root.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", period);
    return root.cpus();
  };
  EXPECT_EQ(cpus("100000\n", "100000\n"), 1);
  EXPECT_EQ(cpus("25000\n", "50000\n"), 1);
  EXPECT_EQ(cpus("150000\n", "100000\n"), std::min(2, mask()));
  EXPECT_EQ(cpus("-1\n", "100000\n"), mask());
  EXPECT_EQ(cpus("", ""), mask());
}

TEST(ProcessLimits, MemoryOfVersion2) {
  const Root root;
  root.use_v2("/");
  root.write("sys/fs/cgroup/memory.max", bytes(300 * kMiB));
  root.write("sys/fs/cgroup/memory.current", bytes(200 * kMiB));
  EXPECT_EQ(root.memory(), 100 * kMiB);
  // Pages of files leave when memory is needed; what a program wrote does not.
  root.write("sys/fs/cgroup/memory.stat",
             "anon 104857600\nfile 94371840\ninactive_anon 10\ninactive_file 62914560\nactive_file 31457280\nslab 7\n");
  EXPECT_EQ(root.memory(), 190 * kMiB);
  root.write("sys/fs/cgroup/memory.high", bytes(250 * kMiB));  // beyond it the group is slowed down
  EXPECT_EQ(root.memory(), 140 * kMiB);
  root.write("sys/fs/cgroup/memory.high", "max\n");
  EXPECT_EQ(root.memory(), 190 * kMiB);
  root.write("sys/fs/cgroup/memory.current", bytes(500 * kMiB));
  EXPECT_EQ(root.memory(), 0u);
  root.write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(root.memory(), 8192 * kMiB);
  root.write("sys/fs/cgroup/memory.max", bytes(100000 * kMiB));
  EXPECT_EQ(root.memory(), 8192 * kMiB);
}

TEST(ProcessLimits, MemoryOfVersion1) {
  const Root root;
  root.use_v1("/");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", bytes(300 * kMiB));
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", bytes(200 * kMiB));
  root.write("sys/fs/cgroup/memory/memory.stat",
             "inactive_file 5\nactive_file 5\ntotal_inactive_file 62914560\ntotal_active_file 31457280\n");
  EXPECT_EQ(root.memory(), 190 * kMiB);
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");  // how version 1 spells none
  EXPECT_EQ(root.memory(), 8192 * kMiB);
}

// The tightest of all groups around the process counts, in both versions; a neighbour's does not.
TEST(ProcessLimits, NestedGroups) {
  struct Level {
    const char* group;
    std::uint64_t left, cores;  // MiB; 0: no limit
  };
  for (const std::vector<Level>& levels : std::vector<std::vector<Level>>{
           {{"", 0, 0}, {"/outer", 100, 1}, {"/outer/inner", 900, 50}, {"/outer/inner/leaf", 0, 0}},
           {{"", 0, 0}, {"/outer", 900, 50}, {"/outer/inner", 0, 0}, {"/outer/inner/leaf", 100, 1}},
           {{"", 100, 1}, {"/outer", 0, 0}, {"/outer/inner", 500, 60}, {"/outer/inner/leaf", 900, 50}}}) {
    const Root v1, v2;
    v2.use_v2("/outer/inner/leaf");
    v1.use_v1("/outer/inner/leaf");
    for (const Level& level : levels) {
      const std::string group = std::string("sys/fs/cgroup") + level.group + "/";
      v2.write(group + "memory.max", level.left ? bytes((level.left + 50) * kMiB) : "max\n");
      v2.write(group + "memory.current", bytes(50 * kMiB));
      v2.write(group + "cpu.max", level.cores ? std::to_string(level.cores * 100000) + " 100000\n" : "max 100000\n");
      const std::string memory = std::string("sys/fs/cgroup/memory") + level.group + "/";
      v1.write(memory + "memory.limit_in_bytes", level.left ? bytes((level.left + 50) * kMiB) : "9223372036854771712\n");
      v1.write(memory + "memory.usage_in_bytes", bytes(50 * kMiB));
      const std::string cpu = std::string("sys/fs/cgroup/cpu,cpuacct") + level.group + "/";
      v1.write(cpu + "cpu.cfs_quota_us", level.cores ? bytes(level.cores * 100000) : "-1\n");
      v1.write(cpu + "cpu.cfs_period_us", "100000\n");
    }
    v2.write("sys/fs/cgroup/outer/other/memory.max", bytes(1));
    v2.write("sys/fs/cgroup/outer/other/memory.current", bytes(1));
    for (const Root* root : {&v1, &v2}) {
      EXPECT_EQ(root->memory(), 100 * kMiB) << (root == &v1 ? "v1" : "v2");
      EXPECT_EQ(root->cpus(), 1) << (root == &v1 ? "v1" : "v2");
    }
  }
}

// A container often sees its own group at the mount, but the path from the host's root in /proc.
TEST(ProcessLimits, AContainersMountShowsAPartOfTheHierarchy) {
  for (const auto& [group, top] : std::vector<std::pair<std::string, std::string>>{{"/docker/abc", "/docker/abc"},
                                                                                   {"/docker/abc/in", "/docker/abc"},
                                                                                   {"/docker/other", "/docker/abc"},
                                                                                   {"/../../host", "/"}}) {
    const Root v1, v2;
    v1.use_v1(group, top);
    v2.use_v2(group, top);
    v1.write("sys/fs/cgroup/memory/memory.limit_in_bytes", bytes(300 * kMiB));
    v1.write("sys/fs/cgroup/memory/memory.usage_in_bytes", bytes(100 * kMiB));
    v1.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
    v1.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    v2.write("sys/fs/cgroup/memory.max", bytes(300 * kMiB));
    v2.write("sys/fs/cgroup/memory.current", bytes(100 * kMiB));
    v2.write("sys/fs/cgroup/cpu.max", "100000 100000\n");
    for (const Root* root : {&v1, &v2}) {
      EXPECT_EQ(root->memory(), 200 * kMiB) << group;
      EXPECT_EQ(root->cpus(), 1) << group;
    }
  }
}

TEST(ProcessLimits, OfThisProcessAreSane) {
  EXPECT_EQ(available_cpus(), warploom::available_cpus());
  EXPECT_GE(available_cpus(), 1);
  EXPECT_LE(available_cpus(), mask());
  EXPECT_GT(available_memory(), kMiB);
}

}  // namespace
}  // namespace warploom::cpu
