// A kernel that reads memory and does nothing else.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace warploom::bench {

/// Reads `bytes` (a multiple of 16) at `data`, 16-byte aligned. `sink`: 4 bytes, written if all words that a thread read cancel out to a
/// value that zeros never give.
void read_all(const void* data, std::size_t bytes, std::uint32_t* sink, cudaStream_t stream);

}  // namespace warploom::bench
