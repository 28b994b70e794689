#include "decoder.h"
namespace emulator {
void add_half_ops(EncoderTable&) {}
}  // namespace emulator
