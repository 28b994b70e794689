#include "checkpoint/tokenizer_data.h"

namespace warploom {

std::array<char32_t, 256> byte_alphabet() {
  std::array<char32_t, 256> alphabet;
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b > ' ' && b < 0x7F) || (b > 0xA0 && b != 0xAD);
    alphabet[b] = printable ? b : next++;
  }
  return alphabet;
}

}  // namespace warploom
