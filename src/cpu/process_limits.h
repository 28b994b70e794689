// What this process may use of the machine: its CPU mask, and the control groups that it is in (cgroup v1 and v2), as
// containers set them up.
#pragma once

#include <cstdint>
#include <filesystem>

namespace warploom::cpu {

/// Both read files below `root`, "/" but for tests. A group's limit counts for all groups inside it, so the tightest of all
/// ancestors that this process can see is taken. What cannot be read limits nothing.

/// As the public available_cpus(); half a core counts as one.
int available_cpus(const std::filesystem::path& root = "/");

/// Bytes that can still be allocated without swapping: what the kernel estimates for the machine (MemAvailable), but no more
/// than its groups' limits leave, and pages of files that can be dropped count as free. UINT64_MAX if nothing is known.
std::uint64_t available_memory(const std::filesystem::path& root = "/");

}  // namespace warploom::cpu
