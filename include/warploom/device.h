// Which device runs a model, and what it is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

enum class DeviceKind : std::uint8_t {
  automatic,  ///< CUDA if a GPU and the CUDA module are present, otherwise the CPU
  cpu,
  cuda,
};

/// Instruction sets that the CPU kernels are built for, ascending. Results are bit-identical on all of them.
enum class CpuIsa : std::uint8_t { automatic, generic, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, avx512_amx };

/// How CUDA keeps weights.
enum class CudaWeights : std::uint8_t {
  packed,  ///< 4- and 8-bit types as they are: what makes decoding fast; others in 16 bits
  half,    ///< everything in 16 bits, dequantised at load
};

struct CudaOptions {
  int gpu = 0;  ///< index, as the driver counts. Calls that work on it leave it the calling thread's current device
  CudaWeights weights = CudaWeights::packed;
  DType compute_type = DType::f16;  ///< f16 or bf16: what matrix products read
  /// A sequence's logits do not depend, bit for bit, on what shares its steps. With packed weights that costs nothing in steps
  /// of up to 256 tokens; bench/README.md has bounds for larger ones.
  bool deterministic = false;
  bool cuda_graphs = true;  ///< capture decode steps as CUDA graphs and replay them
  /// Kernels of a step may begin before the one ahead has ended, and fetch weights meanwhile (CUDA's programmatic dependent launch), on
  /// GPUs of compute capability 9.0 and later. Changes no bit of the results.
  bool dependent_launch = true;
};

struct DeviceOptions {
  DeviceKind kind = DeviceKind::automatic;
  int threads = 0;                 ///< CPU worker threads, the caller's included; 0: available_cpus()
  CpuIsa isa = CpuIsa::automatic;  ///< forces a lower instruction set, for tests and comparisons
  CudaOptions cuda;
};

/// The device that a model is on.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::cpu;  ///< cpu or cuda
  std::string description;            ///< e.g. "cpu: avx512_vnni, 2 threads"
  std::string cuda_unavailable;       ///< why `automatic` took the CPU though NVIDIA's driver is there; else empty
};

/// The device that a model would be on if it were loaded with these options. Throws InvalidArgument, OutOfMemory, or BackendError if
/// the device asked for is not there.
[[nodiscard]] WARPLOOM_EXPORT DeviceInfo find_device(const DeviceOptions& options);

/// Parses "auto", "cpu" or "cuda". Throws InvalidArgument on anything else.
[[nodiscard]] WARPLOOM_EXPORT DeviceKind parse_device_kind(std::string_view text);

/// Cores that this process may keep busy: those of its CPU mask, but no more than the quotas of its control groups allow (a
/// container's limit). At least 1.
[[nodiscard]] WARPLOOM_EXPORT int available_cpus();

/// Instruction sets that this machine can run and this library has kernels for, the fastest last; never empty. The first call asks the
/// system to let this process use AMX's registers, if the processor has them.
[[nodiscard]] WARPLOOM_EXPORT std::vector<CpuIsa> available_cpu_isas();

/// "generic", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "avx512_amx" or "automatic".
[[nodiscard]] WARPLOOM_EXPORT std::string_view name(CpuIsa isa);

/// The inverse of name(). Throws InvalidArgument on anything else.
[[nodiscard]] WARPLOOM_EXPORT CpuIsa parse_cpu_isa(std::string_view text);

}  // namespace warploom
