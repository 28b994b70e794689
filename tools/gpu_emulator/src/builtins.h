// Functions that PTX declares and the driver provides: printf, assert, malloc, free.
#pragma once

#include "decoder.h"

namespace emulator {

int builtin_of(std::string_view name);  // a Builtin
void run_builtin(Warp& warp, const Inst& inst, const CallSite& site);

}  // namespace emulator
