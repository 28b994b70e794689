// The samplers that this program can check.
#pragma once

#include <optional>
#include <string>

#include "tools/sampler_check/sampler_check.h"

namespace warploom::sampler_check {

struct Device {
  std::string description;
  Sampler sampler;
};

/// warploom::sample() on `threads` threads, at least 1.
Device cpu_device(int threads);

/// Why cuda_device() would throw, and what to do about it; nothing where a GPU can be used.
std::optional<std::string> cuda_missing();

/// warploom::cuda::sample() on GPU 0. Throws BackendError with cuda_missing().
Device cuda_device();

}  // namespace warploom::sampler_check
