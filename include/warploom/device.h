// Which device runs a model, and what it is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"

namespace warploom {

enum class DeviceKind : std::uint8_t {
  automatic,  ///< CUDA where a GPU and the CUDA module are present, else the CPU
  cpu,
  cuda,
};

/// Instruction sets that the CPU kernels are built for, ascending. Results are bit-identical on all of them.
enum class CpuIsa : std::uint8_t { automatic, generic, avx2, avx2_vnni, avx512, avx512_vnni };

struct DeviceOptions {
  DeviceKind kind = DeviceKind::automatic;
  int threads = 0;                       ///< CPU worker threads, the caller's included; 0: one per available core
  CpuIsa isa = CpuIsa::automatic;        ///< forces a lower instruction set, for tests and comparisons
};

/// Parses "auto", "cpu" or "cuda". Throws InvalidArgument on anything else.
WARPLOOM_EXPORT DeviceKind parse_device_kind(std::string_view text);

/// Instruction sets that this machine can run, ascending; never empty.
WARPLOOM_EXPORT std::vector<CpuIsa> available_cpu_isas();

/// "generic", "avx2", "avx2_vnni", "avx512", "avx512_vnni" or "automatic".
WARPLOOM_EXPORT std::string_view name(CpuIsa isa);

}  // namespace warploom
