// What the host can see of sampling's arguments, and the run itself.
#pragma once

#include "cuda/sampling/request.h"

namespace warploom::cuda {

/// Each throws InvalidArgument naming the argument, its value and its bound.
void check_rows(const SampleArgs& args);     // what is read
void check_outputs(const SampleArgs& args);  // what sample() writes
void check_workspace(const void* workspace, std::size_t bytes, std::size_t needed);

/// sample() and sample_workspace_bytes(), arguments checked but for the workspace; here token and status may be null.
void run(const SampleArgs& args, void* workspace, std::size_t workspace_bytes, cudaStream_t stream);
std::size_t workspace_bytes_of(const SampleArgs& args);

}  // namespace warploom::cuda
