// Attention over paged keys and values, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void attend_chunk(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
// The same for tiles of bf16.
void attend_chunk_bf16(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
// The same for tiles of int8.
void attend_chunk_int8(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
void merge_chunks(int count, int head_dim, const float* chunk_maxima, const float* chunk_sums,
                  const float* const* chunk_values, float* maxima, float* sums, float* const* values);

}  // namespace warploom::cpu::WARPLOOM_ISA
