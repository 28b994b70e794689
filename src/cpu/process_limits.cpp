// Files: proc(5), the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
#include "cpu/process_limits.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sched.h>

#include "warploom/device.h"

namespace warploom::cpu {

namespace {

namespace fs = std::filesystem;

/// Empty for what is no number, such as "max".
template <typename T>
std::optional<T> read(const fs::path& path) {
  std::ifstream file(path);
  T value;
  if (file >> value) return value;
  return std::nullopt;
}

/// The number behind `name` in a file of names and numbers.
std::optional<std::uint64_t> read_entry(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  std::string found;
  std::uint64_t value = 0;
  while (file >> found >> value) {
    if (found == name) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

bool lists(const std::string& list, std::string_view item) {
  std::istringstream items(list);
  for (std::string one; std::getline(items, one, ',');)
    if (one == item) return true;
  return false;
}

/// The path of this process's group in the hierarchy of `controller`; in that of cgroup v2 for an empty one.
std::optional<std::string> group_of(const fs::path& root, std::string_view controller) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : lists(controllers, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

struct Mount {
  std::string top;    // the group that is seen at `point`
  std::string point;  // a path
};

std::optional<Mount> mount_of(const fs::path& root, std::string_view controller) {
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {  // id parent device top point options ... - type source options
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string id, parent, device, type, source, options;
    Mount mount;
    std::istringstream(line) >> id >> parent >> device >> mount.top >> mount.point;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (controller.empty() ? type == "cgroup2" : type == "cgroup" && lists(options, controller)) return mount;
  }
  return std::nullopt;
}

/// The folders of this process's group and of all groups around it that can be seen, the innermost first.
std::vector<fs::path> groups(const fs::path& root, std::string_view controller) {
  const auto group = group_of(root, controller);
  const auto mount = mount_of(root, controller);
  if (!group || !mount) return {};
  // Without a namespace of its own, a container sees the path from the host's root, but only its own group at the mount.
  std::string inside = *group;
  if (mount->top != "/") inside = inside.starts_with(mount->top) ? inside.substr(mount->top.size()) : "";
  const fs::path top = root / fs::path(mount->point).relative_path();
  std::vector<fs::path> folders = {top};
  for (const fs::path& part : fs::path(inside).relative_path()) {
    if (part == "..") return {top};  // outside what can be seen
    if (!part.empty()) folders.push_back(folders.back() / part);
  }
  std::ranges::reverse(folders);
  return folders;
}

double cpu_quota(const fs::path& root) {
  double least = std::numeric_limits<double>::infinity();
  const auto take = [&](std::optional<double> quota, std::optional<double> period) {
    if (quota && period && *quota > 0 && *period > 0) least = std::min(least, *quota / *period);
  };
  for (const fs::path& group : groups(root, "")) {
    double quota = 0, period = 0;  // "max 100000" fails to be read
    if (std::ifstream(group / "cpu.max") >> quota >> period) take(quota, period);
  }
  for (const fs::path& group : groups(root, "cpu"))
    take(read<double>(group / "cpu.cfs_quota_us"), read<double>(group / "cpu.cfs_period_us"));
  return least;
}

/// What `limit` leaves; files' pages are in `used`, but leave memory when it is needed.
std::uint64_t left(std::uint64_t limit, std::uint64_t used, std::uint64_t files) {
  used -= std::min(used, files);
  return limit - std::min(limit, used);
}

std::uint64_t group_memory(const fs::path& root) {
  std::uint64_t least = UINT64_MAX;
  for (const fs::path& group : groups(root, "")) {
    const auto used = read<std::uint64_t>(group / "memory.current");
    if (!used) continue;
    const std::uint64_t files = read_entry(group / "memory.stat", "inactive_file").value_or(0) +
                                read_entry(group / "memory.stat", "active_file").value_or(0);
    for (const char* name : {"memory.max", "memory.high"})
      if (const auto limit = read<std::uint64_t>(group / name)) least = std::min(least, left(*limit, *used, files));
  }
  for (const fs::path& group : groups(root, "memory")) {
    const auto limit = read<std::uint64_t>(group / "memory.limit_in_bytes");
    const auto used = read<std::uint64_t>(group / "memory.usage_in_bytes");
    if (!limit || !used) continue;
    const std::uint64_t files = read_entry(group / "memory.stat", "total_inactive_file").value_or(0) +
                                read_entry(group / "memory.stat", "total_active_file").value_or(0);
    least = std::min(least, left(*limit, *used, files));
  }
  return least;
}

}  // namespace

int available_cpus(const fs::path& root) {
  cpu_set_t set;
  const int cores =
      sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, static_cast<int>(std::min(static_cast<double>(cores), std::ceil(cpu_quota(root)))));
}

std::uint64_t available_memory(const fs::path& root) {
  const auto kilobytes = read_entry(root / "proc/meminfo", "MemAvailable:");
  return std::min(kilobytes ? *kilobytes << 10 : UINT64_MAX, group_memory(root));
}

}  // namespace warploom::cpu

namespace warploom {

int available_cpus() { return cpu::available_cpus(); }

}  // namespace warploom
