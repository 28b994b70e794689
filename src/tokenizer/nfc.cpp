#include "tokenizer/nfc.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tokenizer/nfc_table.h"
#include "tokenizer/utf8.h"

namespace warploom {
namespace {

// Hangul syllables are composed by a rule: chapter 3.12 of the Unicode Standard.
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTrails = 0x11A7;
constexpr char32_t kVowelCount = 21, kTrailCount = 28, kLeadCount = 19,
                   kSyllableCount = kLeadCount * kVowelCount * kTrailCount;

constexpr char32_t kInvalidByte = 0x110000;  // and the byte: of a text that is no UTF-8

struct Parts {
  char32_t first, second;  // 0: there is no second
};

struct Tables {
  std::unordered_map<char32_t, Parts> parts;
  std::unordered_map<std::uint64_t, char32_t> composed;

  static std::uint64_t key(char32_t first, char32_t second) { return std::uint64_t{first} << 32 | second; }

  Tables() {
    const std::u32string_view pairs = nfc_pairs(), excluded = nfc_excluded(), single = nfc_single();
    for (std::size_t i = 0; i < pairs.size(); i += 3) {
      parts[pairs[i]] = {pairs[i + 1], pairs[i + 2]};
      composed[key(pairs[i + 1], pairs[i + 2])] = pairs[i];
    }
    for (std::size_t i = 0; i < excluded.size(); i += 3) parts[excluded[i]] = {excluded[i + 1], excluded[i + 2]};
    for (std::size_t i = 0; i < single.size(); i += 2) parts[single[i]] = {single[i + 1], 0};
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

struct Mark {
  char32_t character;
  unsigned char combining_class;
};

unsigned char combining_class(char32_t c) {
  const auto ranges = nfc_classes();
  const auto after = std::ranges::upper_bound(ranges, c, {}, &CombiningRange::first);
  return after != ranges.begin() && c <= after[-1].last ? after[-1].value : 0;
}

void decompose(char32_t c, std::vector<Mark>& out) {
  if (c >= kSyllables && c < kSyllables + kSyllableCount) {
    const char32_t index = c - kSyllables, trail = index % kTrailCount;
    out.push_back({kLeads + index / (kVowelCount * kTrailCount), 0});
    out.push_back({kVowels + index / kTrailCount % kVowelCount, 0});
    if (trail > 0) out.push_back({kTrails + trail, 0});
    return;
  }
  const auto found = tables().parts.find(c);
  if (found == tables().parts.end()) {
    out.push_back({c, combining_class(c)});
    return;
  }
  decompose(found->second.first, out);
  if (found->second.second != 0) decompose(found->second.second, out);
}

// Each run of combining characters, by their classes.
void sort_marks(std::vector<Mark>& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (begin->combining_class == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, text.end(), [](const Mark& mark) { return mark.combining_class == 0; });
    std::ranges::stable_sort(begin, end, {}, &Mark::combining_class);
    begin = end;
  }
}

// 0 if the two are not composed.
char32_t compose(char32_t first, char32_t second) {
  if (first >= kLeads && first < kLeads + kLeadCount && second >= kVowels && second < kVowels + kVowelCount)
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTrailCount;
  if (first >= kSyllables && first < kSyllables + kSyllableCount && (first - kSyllables) % kTrailCount == 0 &&
      second > kTrails && second < kTrails + kTrailCount)
    return first + (second - kTrails);
  const auto found = tables().composed.find(Tables::key(first, second));
  return found == tables().composed.end() ? 0 : found->second;
}

// A character joins the last starter before it if nothing between them is a starter or of its own or a higher class.
void compose_all(std::vector<Mark>& text) {
  constexpr std::size_t kNone = SIZE_MAX;
  std::size_t starter = kNone, kept = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const Mark mark = text[i];
    const bool adjacent = starter != kNone && kept == starter + 1;
    const bool blocked = starter == kNone || (!adjacent && text[kept - 1].combining_class >= mark.combining_class);
    const char32_t joined = blocked ? 0 : compose(text[starter].character, mark.character);
    if (joined != 0) {
      text[starter].character = joined;
      continue;
    }
    if (mark.combining_class == 0) starter = kept;
    text[kept++] = mark;
  }
  text.resize(kept);
}

char32_t decode(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.size() == 1) return byte(0);
  char32_t c = byte(0) & (0xFF >> (bytes.size() + 1));
  for (std::size_t i = 1; i < bytes.size(); ++i) c = c << 6 | (byte(i) & 0x3F);
  return c;
}

void append(std::string& out, char32_t c) {
  if (c >= kInvalidByte) {
    out += static_cast<char>(c - kInvalidByte);
  } else if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
  } else if (c < 0x10000) {
    out +=
        {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
  } else {
    out += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
            static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
  }
}

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// The end of a stretch that is normalised by itself: before a character of ASCII, which joins nothing before it.
std::size_t stretch_end(std::string_view text, std::size_t begin) {
  std::size_t end = begin + 1;
  while (end < text.size() && !is_ascii(text[end])) ++end;
  return end;
}

}  // namespace

std::string to_nfc(std::string_view text) {
  // Below U+0300 everything is as it should be.
  const bool plain = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0xCC; });
  if (plain) return std::string(text);
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> stretch;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = stretch_end(text, begin);
    if (end == begin + 1 && is_ascii(text[begin])) {
      out += text[begin];
      begin = end;
      continue;
    }
    stretch.clear();
    while (begin < end) {
      const Utf8Char front = utf8_front(text.substr(begin));
      if (front.state == Utf8State::valid) {
        decompose(decode(text.substr(begin, front.bytes)), stretch);
        begin += front.bytes;
      } else {
        stretch.push_back({kInvalidByte + static_cast<unsigned char>(text[begin++]), 0});
      }
    }
    sort_marks(stretch);
    compose_all(stretch);
    for (const Mark& mark : stretch) append(out, mark.character);
  }
  return out;
}

}  // namespace warploom
