// UTF-8 as the Unicode Standard defines it (table 3-7, well-formed byte sequences).
#pragma once

#include <cstddef>
#include <string_view>

namespace warploom {

enum class Utf8State { valid, incomplete, invalid };
struct Utf8Char {
  Utf8State state;
  std::size_t bytes;  // length of the character if valid, of what is there if incomplete, 1 if invalid
};

/// The character at the front of `text`, which is not empty. Overlong forms, surrogates and values above U+10FFFF are
/// invalid.
constexpr Utf8Char utf8_front(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Utf8State::valid, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8State::invalid, 1};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range is narrower after some leads.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8State::incomplete, i};
    if (byte(i) < (i == 1 ? low : 0x80u) || byte(i) > (i == 1 ? high : 0xBFu)) return {Utf8State::invalid, 1};
  }
  return {Utf8State::valid, length};
}

/// How many bytes at the end of `text` may be the beginning of a character; at most 3.
constexpr std::size_t incomplete_utf8_suffix(std::string_view text) {
  for (std::size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const auto byte = static_cast<unsigned char>(text[text.size() - n]);
    if (byte >= 0x80 && byte < 0xC0) continue;  // a continuation byte: the lead is further left
    const Utf8Char front = utf8_front(text.substr(text.size() - n));
    return front.state == Utf8State::incomplete ? n : 0;
  }
  return 0;
}

constexpr bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char front = utf8_front(text);
    if (front.state != Utf8State::valid) return false;
    text.remove_prefix(front.bytes);
  }
  return true;
}

}  // namespace warploom
