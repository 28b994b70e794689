// What the host can see of sampling's arguments.
#pragma once

#include "warploom/cuda/sampling.h"

namespace warploom::cuda {

inline constexpr int kMaxSampleParts = 128;

/// Throws InvalidArgument naming the argument, its value and its bound.
void check_args(const SampleArgs& args);
void check_workspace(const void* workspace, std::size_t bytes, std::size_t needed);

}  // namespace warploom::cuda
