// PTX text to syntax tree. PTX ISA, chapters 4 to 11 (syntax, state spaces, directives).
#pragma once

#include <memory>

#include "ptx_ast.h"

namespace emulator::ptx {

// Throws std::runtime_error "PTX line N: ..." for text that it can't read.
std::unique_ptr<Module> parse(std::string text);

}  // namespace emulator::ptx
