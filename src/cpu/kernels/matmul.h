// Products of packed panels with rows of inputs, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void quantise_row(const float* x, std::int64_t cols, ActivationBlock* blocks, int slot);
void panel_quantised(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const ActivationBlock* inputs,
                     std::int64_t tokens, const float* bias, int lanes, float* out, std::int64_t out_stride, Fetch fetch);
void panel_float(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const float* x,
                 std::int64_t x_stride, std::int64_t tokens, const float* bias, int lanes, float* out,
                 std::int64_t out_stride, Fetch fetch);

}  // namespace warploom::cpu::WARPLOOM_ISA
