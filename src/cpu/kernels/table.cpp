#include "cpu/kernels/attention.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/matmul.h"

namespace warploom::cpu::WARPLOOM_ISA {

const Kernels kKernels = {
    .quantise_row = quantise_row,
    .panel_quantised = panel_quantised,
    .panel_float = panel_float,
    .rms_norm_row = rms_norm_row,
    .rotate_row = rotate_row,
    .narrow_row = narrow_row,
    .swiglu_row = swiglu_row,
    .attend_chunk = attend_chunk,
    .merge_chunk = merge_chunk,
    .scale_row = scale_row,
};

}  // namespace warploom::cpu::WARPLOOM_ISA
