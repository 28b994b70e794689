#include "cpu/kernels/attention.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/matmul.h"
#include "cpu/kernels/sampling.h"

namespace warploom::cpu::WARPLOOM_ISA {

const Kernels kKernels = {
    .quantise_group = quantise_group,
    .multiply_quantised = multiply_quantised,
    .multiply_float = multiply_float,
    .rms_norm_row = rms_norm_row,
    .rotate_row = rotate_row,
    .narrow_row = narrow_row,
    .round_bf16_row = round_bf16_row,
    .quantise_head = quantise_head,
    .swiglu_row = swiglu_row,
    .attend_chunk = attend_chunk,
    .merge_chunks = merge_chunks,
    .scale_row = scale_row,
    .sample = {.widen = widen,
               .mask = mask,
               .scan = scan,
               .sum_weights = sum_weights,
               .gather = gather,
               .gather_and_sum = gather_and_sum,
               .keep = keep,
               .weigh = weigh},
};

}  // namespace warploom::cpu::WARPLOOM_ISA
