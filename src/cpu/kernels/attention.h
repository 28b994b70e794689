// Attention over paged keys and values, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void attend_chunk(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
void merge_chunk(float* max, float* sum, float* values, float chunk_max, float chunk_sum, const float* chunk_values,
                 int head_dim);

}  // namespace warploom::cpu::WARPLOOM_ISA
