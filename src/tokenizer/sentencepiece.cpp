#include "tokenizer/sentencepiece.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "tokenizer/utf8.h"

namespace warploom {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

void replace_space_marks(std::string& piece) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const bool mark = piece.compare(at, kSpace.size(), kSpace) == 0;
    piece[end++] = mark ? ' ' : piece[at];
    at += mark ? kSpace.size() : 1;
  }
  piece.resize(end);
}

// The byte of "<0x0A>"; -1 if `piece` is not of that form.
int parse_byte(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return -1;
  int value = -1;
  const char* end = piece.data() + 5;
  return std::from_chars(piece.data() + 3, end, value, 16).ptr == end ? value : -1;
}

struct Symbol {
  std::uint32_t begin;
  std::uint32_t bytes;  // 0 if it was merged into another
  std::uint32_t previous;
  std::uint32_t next;
  TokenId id;  // -1 if it is not a token
};

struct Merge {
  float score;
  std::uint32_t left;
  std::uint32_t bytes;  // of both: tells whether either of them has changed since
  TokenId result;
  bool operator<(const Merge& other) const { return score != other.score ? score < other.score : left > other.left; }
};

}  // namespace

SentencePieceEncoder::SentencePieceEncoder(const TokenizerData& data, Vocabulary& vocabulary)
    : scores_(data.scores), unknown_(vocabulary.unknown) {
  byte_tokens_.fill(-1);
  tokens_.reserve(vocabulary.size());
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    std::string& piece = vocabulary.pieces[i];
    if (vocabulary.kinds[i] == TokenKind::byte) {
      const int byte = parse_byte(piece);
      if (byte < 0)
        throw_tokenizer_error(data, fmt::format("token {} is marked as a byte, but is '{}', not like <0x0A>", i, piece));
      piece.assign(1, static_cast<char>(byte));
      byte_tokens_[byte] = id;
    } else if (!vocabulary.is_atomic(id) && !piece.empty()) {
      replace_space_marks(piece);
      if (!vocabulary.is_text(id)) continue;
      tokens_.emplace(piece, id);
      longest_ = std::max(longest_, piece.size());
    }
  }
  if (unknown_ < 0 && std::ranges::count(byte_tokens_, -1) > 0) {
    throw_tokenizer_error(data, "the vocabulary has neither a token for every byte nor an unknown token");
  }
}

void SentencePieceEncoder::encode(std::string_view text, std::vector<TokenId>& ids) const {
  constexpr std::uint32_t kEnd = UINT32_MAX;
  const auto find = [&](std::uint32_t begin, std::uint32_t bytes) {
    if (bytes > longest_) return TokenId{-1};
    const auto found = tokens_.find(text.substr(begin, bytes));
    return found == tokens_.end() ? -1 : found->second;
  };

  std::vector<Symbol> symbols;
  for (std::uint32_t begin = 0; begin < text.size();) {
    const Utf8Char front = utf8_front(text.substr(begin));
    const auto bytes = static_cast<std::uint32_t>(front.state == Utf8State::valid ? front.bytes : 1);
    const auto position = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({begin, bytes, position - 1, position + 1, find(begin, bytes)});
    begin += bytes;
  }
  if (symbols.empty()) return;
  symbols.front().previous = symbols.back().next = kEnd;

  std::vector<Merge> heap;
  const auto offer = [&](std::uint32_t left) {
    const Symbol& symbol = symbols[left];
    if (symbol.next == kEnd) return false;
    const std::uint32_t bytes = symbol.bytes + symbols[symbol.next].bytes;
    const TokenId id = find(symbol.begin, bytes);
    if (id < 0) return false;
    heap.push_back({scores_[id], left, bytes, id});
    return true;
  };
  const auto offer_later = [&](std::uint32_t left) {
    if (offer(left)) std::ranges::push_heap(heap, std::less{});
  };
  for (std::uint32_t i = 0; i < symbols.size(); ++i) offer(i);
  std::ranges::make_heap(heap, std::less{});

  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::less{});
    const Merge merge = heap.back();
    heap.pop_back();
    Symbol& left = symbols[merge.left];
    if (left.bytes == 0 || left.next == kEnd || left.bytes + symbols[left.next].bytes != merge.bytes) continue;
    Symbol& right = symbols[left.next];
    left.bytes = merge.bytes;
    left.id = merge.result;
    left.next = right.next;
    right.bytes = 0;
    if (left.next != kEnd) symbols[left.next].previous = merge.left;
    offer_later(merge.left);
    if (left.previous != kEnd) offer_later(left.previous);
  }

  for (std::uint32_t i = 0; i != kEnd; i = symbols[i].next) {
    const Symbol& symbol = symbols[i];
    if (symbol.id >= 0) {
      ids.push_back(symbol.id);
      continue;
    }
    const std::string_view bytes = text.substr(symbol.begin, symbol.bytes);
    const auto token_of = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
    if (std::ranges::all_of(bytes, [&](char byte) { return token_of(byte) >= 0; })) {
      for (const char byte : bytes) ids.push_back(token_of(byte));
    } else {
      ids.push_back(unknown_);
    }
  }
}

}  // namespace warploom
