// Row-wise kernels, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void rms_norm_row(float* residual, const float* delta, const float* weight, std::int64_t dim, float epsilon, float* out);
void rotate_row(const float* x, const float* table, std::int64_t dims, bool interleaved, float* out);
void narrow_row(const float* x, std::int64_t count, std::uint16_t* out);
void round_bf16_row(const float* x, std::int64_t count, float* out);
void quantise_head(const float* x, std::int64_t count, std::int64_t group, Int8Head* out);
void swiglu_row(const float* gate, const float* up, std::int64_t count, float* out);
void scale_row(float* values, float divisor, int count);

}  // namespace warploom::cpu::WARPLOOM_ISA
