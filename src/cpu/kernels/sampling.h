// Dense passes over a row of logits, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void widen(const std::uint16_t* x, std::int64_t count, bool bf16, float* out);
void mask(float* x, std::int64_t count, const std::uint32_t* allowed);
bool scan(const float* x, std::int64_t count, std::int64_t block, float* block_max);
std::int64_t sum_weights(const float* x, std::int64_t count, float max, float scale, std::uint64_t least,
                         std::uint64_t* sums);
std::int64_t gather(const float* x, std::int64_t count, float floor, std::uint32_t first_id, std::uint32_t* ids,
                    float* values);
std::int64_t gather_and_sum(const float* x, std::int64_t count, float max, float scale, float floor, std::uint32_t* ids,
                            float* values, std::uint64_t* total);
std::int64_t keep(float* values, std::uint32_t* ids, std::int64_t count, float least, std::uint32_t last_id);
void weigh(const float* values, std::int64_t count, float max, float scale, std::uint64_t* weights);

}  // namespace warploom::cpu::WARPLOOM_ISA
