// Products of packed panels with rows of inputs, and how these are quantised, declared for the table of kernels.
#pragma once

#include "cpu/kernels.h"

namespace warploom::cpu::WARPLOOM_ISA {

void quantise_group(const float* x, std::int64_t stride, int tokens, std::int64_t cols, ActivationBlock* blocks);
void multiply_quantised(const PanelProduct& product);
void multiply_float(const PanelProduct& product);

}  // namespace warploom::cpu::WARPLOOM_ISA
