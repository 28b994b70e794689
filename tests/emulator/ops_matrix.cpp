#include "decoder.h"
namespace emulator {
void add_matrix_ops(EncoderTable&) {}
}  // namespace emulator
