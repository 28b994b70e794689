// The data of Unicode that its normal form C needs. make_nfc_table.py writes the table.
#pragma once

#include <span>
#include <string_view>

namespace warploom {

struct CombiningRange {
  char32_t first, last;
  unsigned char value;  // the canonical combining class; 0 if no range has the character
};

std::u32string_view nfc_pairs();                ///< by threes: a character, and the two that it is composed of
std::u32string_view nfc_excluded();             ///< the same, but the two are never composed
std::u32string_view nfc_single();               ///< by twos: a character, and the one that stands for it
std::span<const CombiningRange> nfc_classes();  ///< by ascending characters

}  // namespace warploom
