// The container in which nvcc embeds device code: one header, then entries of PTX text or machine code.
#pragma once

#include <string>

namespace emulator {

// The newest uncompressed PTX text in the fat binary that `wrapper` (the __fatDeviceText object which nvcc's start-up code
// hands to __cudaRegisterFatBinary) points at. Throws std::runtime_error where there is none, naming what was found instead.
std::string extract_ptx(const void* wrapper, uint32_t capability);

}  // namespace emulator
