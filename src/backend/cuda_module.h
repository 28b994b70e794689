// What the module with the CUDA backend exports. Both sides are of one version: it is part of the name.
#pragma once

#include <string>

#include "backend/backend.h"
#include "warploom/version.h"

#define WARPLOOM_CREATE_CUDA_BACKEND_(major, minor, patch) warploom_create_cuda_backend_##major##_##minor##_##patch
#define WARPLOOM_CREATE_CUDA_BACKEND_OF(major, minor, patch) WARPLOOM_CREATE_CUDA_BACKEND_(major, minor, patch)
#define WARPLOOM_CREATE_CUDA_BACKEND \
  WARPLOOM_CREATE_CUDA_BACKEND_OF(WARPLOOM_VERSION_MAJOR, WARPLOOM_VERSION_MINOR, WARPLOOM_VERSION_PATCH)

namespace warploom {

/// A backend that the caller owns, or null with the reason in `missing`.
using CreateCudaBackend = Backend* (*)(const DeviceOptions& options, std::string& missing);

#define WARPLOOM_NAME_(name) #name
#define WARPLOOM_NAME_OF(name) WARPLOOM_NAME_(name)
inline constexpr const char* kCreateCudaBackend = WARPLOOM_NAME_OF(WARPLOOM_CREATE_CUDA_BACKEND);

}  // namespace warploom
