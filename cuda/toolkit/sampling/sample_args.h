// What the host can see of sampling's arguments, and the run itself.
#pragma once

#include "cuda/toolkit/sampling/request.h"
#include "warploom/cuda/building_blocks.h"

namespace warploom::cuda {

/// Each throws InvalidArgument naming the argument, its value and its bound.
void check_rows(const SampleArgs& args);                                          // what is read
void check_lists(const SampleArgs& args);                                         // lists and dense outputs, where asked for
void check_outputs(const SampleArgs& args);                                       // all that sample() writes
void check_output(const SampleArgs& args, const void* output, const char* name);  // that it is there
void check_top_k(int k);
void check_mask_stride(const SampleArgs& args, std::int64_t stride);
void check_workspace(const Workspace& workspace, std::size_t needed);

/// sample() and sample_workspace_bytes(), arguments checked but for the workspace; here token and status may be null.
void run(const SampleArgs& args, cudaStream_t stream);
std::size_t workspace_bytes_of(const SampleArgs& args);
/// What suffices for these rows and for any fewer, of which several blocks may share each. Throws like sample_workspace_bytes().
std::size_t max_sample_workspace_bytes(const SampleArgs& args);
/// The draw and the mask of what it picks from; args asks for nothing that takes a kernel of its own.
void run_kept_mask(const SampleArgs& args, const MaskRows& mask, cudaStream_t stream);

/// The same where `logits` are 64-bit weights.
void run_weighted(const SampleArgs& args, cudaStream_t stream);
std::size_t weighted_workspace_bytes(const SampleArgs& args);

}  // namespace warploom::cuda
