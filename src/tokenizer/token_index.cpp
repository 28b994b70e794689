#include "tokenizer/token_index.h"

#include <bit>
#include <cstring>

#include "core/mix.h"

namespace warploom {

namespace {

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = text.size(), word;
  for (; text.size() > 8; text.remove_prefix(8)) {
    std::memcpy(&word, text.data(), sizeof word);
    hash = (hash ^ word) * kGoldenGamma;
    hash ^= hash >> 32;
  }
  word = 0;
  if (text.size() >= 4) {  // two halves, which may overlap
    std::uint32_t first, last;
    std::memcpy(&first, text.data(), sizeof first);
    std::memcpy(&last, text.data() + text.size() - sizeof last, sizeof last);
    word = std::uint64_t{first} << 32 | last;
  } else {
    for (const char byte : text) word = word << 8 | static_cast<unsigned char>(byte);
  }
  hash = (hash ^ word) * kGoldenGamma;
  return hash ^ (hash >> 32);
}

}  // namespace

TokenIndex::TokenIndex(std::span<const std::string_view> tokens)
    : tokens_(tokens), slots_(std::bit_ceil(2 * tokens.size() + 1)) {}

std::size_t TokenIndex::slot_of(std::string_view spelling, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>(hash) & mask;
  for (;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id < 0 || (slot.hash == hash >> 32 && tokens_[static_cast<std::size_t>(slot.id)] == spelling)) return at;
  }
}

TokenId TokenIndex::insert(TokenId id) {
  const std::string_view spelling = tokens_[static_cast<std::size_t>(id)];
  const std::uint64_t hash = hash_of(spelling);
  Slot& slot = slots_[slot_of(spelling, hash)];
  if (slot.id >= 0) return slot.id;
  slot = {static_cast<std::uint32_t>(hash >> 32), id};
  return -1;
}

TokenId TokenIndex::find(std::string_view spelling) const { return slots_[slot_of(spelling, hash_of(spelling))].id; }

}  // namespace warploom
