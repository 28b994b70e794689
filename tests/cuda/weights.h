// The arithmetic of one token, run on the device.
#pragma once

#include <cstdint>

namespace warploom::test {

/// Of the `count` floats whose bits are first, first + stride, .. as exponents t of 2^t: device memory for the weight and
/// for the same before it is cut to an integer.
void weights_on_device(std::uint32_t first, std::uint32_t stride, std::uint32_t count, std::uint64_t* weights,
                       float* relative);

}  // namespace warploom::test
