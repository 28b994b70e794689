// Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909; on bytes as GPT-2 does).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/tokenizer_data.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/vocabulary.h"

namespace warploom {

/// Pairs of neighbouring tokens that merge into one. Open addressing: a lookup is one cache line more often than not.
class MergeTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Merge {
    std::uint32_t rank = kNone;  // lower merges first
    TokenId result = -1;
  };
  explicit MergeTable(std::size_t merges);
  /// Keeps the first of equal pairs.
  void insert(TokenId left, TokenId right, Merge merge);
  Merge find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t key = UINT64_MAX;
    Merge merge;
  };
  std::size_t first_slot(std::uint64_t key) const { return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> shift_); }
  std::vector<Slot> slots_;
  int shift_ = 0;
};

class BpeEncoder final : public TextEncoder {
 public:
  /// Replaces the spelling of normal tokens in `vocabulary`, which must outlive the encoder, by their bytes. Throws
  /// ModelError if a merge is malformed or names a token that does not exist, or the pre-tokenizer is not known.
  BpeEncoder(const TokenizerData& data, const TokenIndex& index, Vocabulary& vocabulary);

  void encode(std::string_view text, std::vector<TokenId>& ids) const override;

 private:
  struct Scratch;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  std::string replace_unspellable(std::string_view text) const;

  PreTokenizer pretokenizer_;
  std::array<TokenId, 256> byte_tokens_;  // -1 if the vocabulary has none
  MergeTable merges_;
  std::unordered_map<std::string_view, TokenId> words_;  // every normal token, if whole words are looked up before merging
};

}  // namespace warploom
