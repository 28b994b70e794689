#include "tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "tokenizer/utf8.h"

namespace warploom {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// All of the alphabet is below U+0800: one or two bytes of UTF-8 each.
std::string utf8_of(char32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  return {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
}

constexpr char32_t kAlphabetEnd = 256 + 68;

// The byte of each code point, -1 if it stands for none.
std::array<int, kAlphabetEnd> alphabet_bytes() {
  std::array<int, kAlphabetEnd> bytes;
  bytes.fill(-1);
  const auto alphabet = byte_alphabet();
  for (int b = 0; b < 256; ++b) bytes[alphabet[b]] = b;
  return bytes;
}

// False, and no change, if `piece` is not all of the alphabet.
bool spell_bytes(const std::array<int, kAlphabetEnd>& bytes, std::string& piece) {
  std::string spelled;
  for (std::size_t i = 0; i < piece.size();) {
    const Utf8Char front = utf8_front(std::string_view(piece).substr(i));
    if (front.state != Utf8State::valid || front.bytes > 2) return false;
    const auto lead = static_cast<unsigned char>(piece[i]);
    const char32_t c = front.bytes == 1 ? lead : static_cast<char32_t>((lead & 0x1F) << 6 | (piece[i + 1] & 0x3F));
    if (c >= kAlphabetEnd || bytes[c] < 0) return false;
    spelled.push_back(static_cast<char>(bytes[c]));
    i += front.bytes;
  }
  piece = std::move(spelled);
  return true;
}

bool is_joined(std::string_view text, std::string_view first, std::string_view second) {
  return text.size() == first.size() + second.size() && text.starts_with(first) && text.ends_with(second);
}

const PreTokenizerKind& pretokenizer_of(const TokenizerData& data) {
  const PreTokenizerKind* kind = find_pretokenizer(data.pre_tokenizer);
  if (kind != nullptr) return *kind;
  throw_tokenizer_error(data, fmt::format("{} is '{}', which is not supported; these are: {}", data.names.pre_tokenizer,
                                          data.pre_tokenizer, pretokenizer_names()));
}

}  // namespace

MergeTable::MergeTable(std::size_t merges)
    : slots_(std::bit_ceil(2 * merges + 2)), shift_(64 - std::countr_zero(slots_.size())) {}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t key = std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  std::size_t slot = first_slot(key);
  while (slots_[slot].key != UINT64_MAX) {
    if (slots_[slot].key == key) return;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  slots_[slot] = {key, merge};
}

MergeTable::Merge MergeTable::find(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) return {};
  const std::uint64_t key = std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  std::size_t slot = first_slot(key);
  while (slots_[slot].key != key) {
    if (slots_[slot].key == UINT64_MAX) return {};
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slots_[slot].merge;
}

BpeEncoder::BpeEncoder(const TokenizerData& data, const TokenIndex& index, Vocabulary& vocabulary)
    : pretokenizer_(pretokenizer_of(data)), merges_(data.merges.size()) {
  const auto& merges = data.merges;
  std::string result;
  TokenId into = -1;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const std::size_t space = merge.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != merge.npos) {
      throw_tokenizer_error(
          data, fmt::format("{}[{}] is '{}', not two tokens with a space between", data.names.merges, rank, merge));
    }
    const auto id_of = [&](std::string_view token) {
      const TokenId found = index.find(token);
      if (found < 0) {
        throw_tokenizer_error(data, fmt::format("{}[{}] '{}' needs the token '{}', which does not exist", data.names.merges,
                                                rank, merge, token));
      }
      return found;
    };
    const std::string_view first = merge.substr(0, space), second = merge.substr(space + 1);
    const TokenId left = id_of(first);
    const TokenId right = id_of(second);
    // Vocabularies list what merges give in the merges' order, mostly.
    const auto next = static_cast<std::size_t>(++into);
    if (next >= data.tokens.size() || !is_joined(data.tokens[next], first, second)) {
      result = merge;
      into = id_of(result.erase(space, 1));
    }
    // Plain text must not become a special token.
    if (vocabulary.is_text(into)) merges_.insert(left, right, {static_cast<std::uint32_t>(rank), into});
  }

  const auto alphabet = byte_alphabet();
  for (int b = 0; b < 256; ++b) {
    const TokenId found = index.find(utf8_of(alphabet[b]));
    byte_tokens_[b] = found >= 0 && vocabulary.is_text(found) ? found : -1;
  }
  const auto bytes = alphabet_bytes();
  if (pretokenizer_.kind().whole_words) words_.reserve(vocabulary.size());
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (vocabulary.is_atomic(id) || !spell_bytes(bytes, vocabulary.pieces[i])) continue;
    if (pretokenizer_.kind().whole_words && vocabulary.is_text(id)) words_.emplace(vocabulary.pieces[i], id);
  }
}

// The word's tokens so far as a linked list, and a heap of the merges that may come next.
struct BpeEncoder::Scratch {
  struct Symbol {
    TokenId id;
    MergeTable::Merge with_next;  // rank kNone also if the symbol is gone
    std::uint32_t previous;
    std::uint32_t next;
  };
  std::vector<Symbol> symbols;
  std::vector<std::uint64_t> heap;  // rank << 32 | position: the lowest rank first, then the leftmost

  void push(std::uint32_t position) {
    heap.push_back(std::uint64_t{symbols[position].with_next.rank} << 32 | position);
    std::ranges::push_heap(heap, std::greater{});
  }
  std::uint64_t pop() {
    std::ranges::pop_heap(heap, std::greater{});
    const std::uint64_t top = heap.back();
    heap.pop_back();
    return top;
  }
};

void BpeEncoder::encode_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  constexpr std::uint32_t kEnd = UINT32_MAX;
  auto& symbols = scratch.symbols;
  symbols.resize(word.size());
  scratch.heap.clear();
  for (std::uint32_t i = 0; i < word.size(); ++i) {
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(word[i])], {}, i - 1, i + 1};
  }
  symbols.front().previous = symbols.back().next = kEnd;

  const auto offer = [&](std::uint32_t position) {
    auto& symbol = symbols[position];
    symbol.with_next = symbol.next == kEnd ? MergeTable::Merge{} : merges_.find(symbol.id, symbols[symbol.next].id);
    if (symbol.with_next.rank != MergeTable::kNone) scratch.push(position);
  };
  for (std::uint32_t i = 0; i < word.size(); ++i) offer(i);

  while (!scratch.heap.empty()) {
    const std::uint64_t top = scratch.pop();
    const auto position = static_cast<std::uint32_t>(top);
    auto& symbol = symbols[position];
    // Something at this place was merged since. A rank names its pair, so an equal one means the same pair.
    if (symbol.with_next.rank != top >> 32) continue;
    auto& gone = symbols[symbol.next];
    symbol.id = symbol.with_next.result;
    symbol.next = gone.next;
    gone.with_next = {};
    if (symbol.next != kEnd) symbols[symbol.next].previous = position;
    offer(position);
    if (symbol.previous != kEnd) offer(symbol.previous);
  }
  for (std::uint32_t i = 0; i != kEnd; i = symbols[i].next) {
    if (symbols[i].id >= 0) ids.push_back(symbols[i].id);
  }
}

void BpeEncoder::encode(std::string_view text, std::vector<TokenId>& ids) const {
  const bool valid = is_valid_utf8(text);
  const std::string replaced = valid ? std::string() : replace_unspellable(text);
  Words words(pretokenizer_, valid ? text : std::string_view(replaced));
  Scratch scratch;
  for (std::string_view word = words.next(); !word.empty(); word = words.next()) {
    if (pretokenizer_.kind().whole_words) {
      if (const auto found = words_.find(word); found != words_.end()) {
        ids.push_back(found->second);
        continue;
      }
    }
    encode_word(word, scratch, ids);
  }
}

// An invalid byte for which there is no token would be lost without a trace; so it reads as a replacement character.
std::string BpeEncoder::replace_unspellable(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char front = utf8_front(text);
    const bool valid = front.state == Utf8State::valid;
    const std::string_view bytes = text.substr(0, valid ? front.bytes : 1);
    const bool keep = valid || byte_tokens_[static_cast<unsigned char>(bytes[0])] >= 0;
    result.append(keep ? bytes : kReplacementCharacter);
    text.remove_prefix(bytes.size());
  }
  return result;
}

}  // namespace warploom
