// What a kernel makes of chunk 0 of a context for the queries of a tile.
#pragma once

#include "cpu/kernels.h"

namespace warploom::test {

struct ChunkResult {
  alignas(64) float maxima[cpu::kMaxQueries], sums[cpu::kMaxQueries], values[cpu::kMaxQueries][cpu::kQueryStride];

  ChunkResult(const cpu::Kernels& kernels, const cpu::AttentionTile& tile) {
    float* rows[cpu::kMaxQueries];
    for (int i = 0; i < cpu::kMaxQueries; ++i) rows[i] = values[i];
    kernels.attend_chunk(tile, 0, maxima, sums, rows);
  }
};

}  // namespace warploom::test
