// What the kernels of sampling share with the host: how a row is cut up, and what a draw leaves for the kernels after it.
#pragma once

#include <functional>
#include <optional>

#include "warploom/cuda/sampling.h"

namespace warploom::cuda {

inline constexpr int kMaxSampleParts = 128;
inline constexpr int kMaxTop = 1024;

/// A row is cut into parts (blocks), those into segments (warps). segment is a multiple of 128, segments (of a part) at most
/// 256.
struct RowShape {
  int ctas_per_row = 1;
  int segment = 128;
  int segments = 1;
};

/// The kept tokens of a row: those down to the cut (key, id) in the order that weigh at least `least`.
struct RowRecord {
  unsigned long long total;  // the weights of the kept tokens
  unsigned long long all;    // every weight at temperature 1; only where log-probabilities are wanted
  unsigned long long least;
  std::uint32_t key, id;
  float max, scale;  // of the weights
  SampleStatus status;
};

/// Device memory of one call.
struct SampleScratch {
  RowRecord* records = nullptr;         // [rows], null where no kernel follows
  void* row_workspaces = nullptr;       // [rows] of row_workspace_bytes(); of one kernel after the other
  void* lists = nullptr;                // [rows] of row_lists_bytes()
  unsigned long long* tiles = nullptr;  // of the list of kept tokens, a ticket before them
};

/// What parts of one row need, and how rows are cut for a kernel of which every block must be running at once: on what the
/// stream has of the GPU, or without a stream on all of it.
std::size_t row_workspace_bytes();
std::size_t row_lists_bytes();
RowShape shape_for(const SampleArgs& a, std::optional<cudaStream_t> stream);
/// Clears the exchanges where parts share rows, and launches. If so many blocks cannot run at once, rows are cut into half as
/// many parts; `dynamic_bytes` and `arguments` follow `shape`.
void launch_cta_group(const SampleArgs& a, const void* kernel, RowShape& shape,
                      const std::function<std::size_t()>& dynamic_bytes, void** arguments, const SampleScratch& scratch,
                      const char* what, cudaStream_t stream);

/// The kernels, each in its own file.
void launch_draw(const SampleArgs& a, const RowShape& shape, const SampleScratch& scratch, cudaStream_t stream);
void launch_top(const SampleArgs& a, const RowShape& shape, const SampleScratch& scratch, cudaStream_t stream);
std::int64_t kept_tiles(const SampleArgs& a);
void launch_kept(const SampleArgs& a, const SampleScratch& scratch, cudaStream_t stream);
void launch_dense(const SampleArgs& a, const SampleScratch& scratch, cudaStream_t stream);

}  // namespace warploom::cuda
