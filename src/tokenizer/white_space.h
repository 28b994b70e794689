// White space as Python's str.strip takes it away, which chat templates rely on.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace warploom {

inline constexpr auto kWhiteSpace = std::to_array<std::string_view>(
    {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1C",   "\x1D",   "\x1E",   "\x1F",
     "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
     "\u2007", "\u2008", "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"});

/// Bytes of white space at the front, and at the end.
inline std::size_t white_space_before(std::string_view text) {
  const std::size_t size = text.size();
  const auto leads = [&](std::string_view space) { return text.starts_with(space); };
  for (auto it = std::ranges::find_if(kWhiteSpace, leads); it != kWhiteSpace.end();
       it = std::ranges::find_if(kWhiteSpace, leads))
    text.remove_prefix(it->size());
  return size - text.size();
}
inline std::size_t white_space_after(std::string_view text) {
  const std::size_t size = text.size();
  const auto trails = [&](std::string_view space) { return text.ends_with(space); };
  for (auto it = std::ranges::find_if(kWhiteSpace, trails); it != kWhiteSpace.end();
       it = std::ranges::find_if(kWhiteSpace, trails))
    text.remove_suffix(it->size());
  return size - text.size();
}

}  // namespace warploom
