// Values that are no registers: special registers, addresses of variables, parameters and functions.
#pragma once

#include "decoder.h"

namespace emulator {

// Emits what puts the symbol's value (plus its offset) into `destination`, a register code of `bytes`.
void emit_symbol(Encoder& e, const ptx::Operand& o, uint32_t destination, int bytes);

}  // namespace emulator
