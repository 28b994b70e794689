// Dense passes over a row of logits, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

bool scan(const float* x, std::int64_t padded, float* block_max);
std::int64_t sum_weights(const float* x, std::int64_t padded, float max, float scale, std::uint64_t least, std::uint64_t* sums);
std::int64_t gather(const float* x, std::int64_t padded, const float* block_max, float floor, std::uint32_t* ids, float* values);
void weigh(const float* values, std::int64_t count, float max, float scale, std::uint64_t* weights);

}  // namespace warploom::cpu::WARPLOOM_ISA
