// What the module with the CUDA backend exports. The library calls into it only if both were built from the same release and
// the same interface.
#pragma once

#include <string>

#include "backend/backend.h"
#include "warploom/version.h"

namespace warploom {

/// Raise it whenever backend.h, ops.h, or a public type in their signatures changes.
inline constexpr int kBackendAbi = 8;

/// The module's one symbol, kCudaModule. The first four members stay what they are in every release, so that any two can be
/// compared.
struct CudaModule {
  int major = WARPLOOM_VERSION_MAJOR;
  int minor = WARPLOOM_VERSION_MINOR;
  int patch = WARPLOOM_VERSION_PATCH;
  int abi = kBackendAbi;
  /// A backend that the caller owns, or null with the reason in `missing`.
  Backend* (*create)(const DeviceOptions& options, std::string& missing) = nullptr;
};

inline constexpr const char* kCudaModule = "warploom_cuda_module";
extern "C" WARPLOOM_EXPORT const CudaModule warploom_cuda_module;  // defined in the module

/// Empty if the library can call the module; else what does not fit and what to do about it.
std::string misfit_of(const CudaModule& module);

}  // namespace warploom
