// The tokenizer of a GGUF file: the keys of tokenizer.ggml, checked for their kinds and lengths.
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "checkpoint/gguf_checkpoint.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kKinds = "tokenizer.ggml.token_type";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";
constexpr std::string_view kPreTokenizer = "tokenizer.ggml.pre";
constexpr std::string_view kAddBos = "tokenizer.ggml.add_bos_token";
constexpr std::string_view kAddEos = "tokenizer.ggml.add_eos_token";
constexpr std::string_view kChatTemplate = "tokenizer.chat_template";

[[noreturn]] void fail(const GgufFile& file, const std::string& what) {
  throw ModelError(fmt::format("{}: {}", file.path().string(), what));
}

TokenAlgorithm read_algorithm(const GgufFile& file) {
  const std::string_view model = file.need_string("tokenizer.ggml.model");
  if (model == "gpt2") return TokenAlgorithm::byte_level_bpe;
  if (model == "llama") return TokenAlgorithm::sentencepiece;
  fail(file, fmt::format("tokenizer.ggml.model is '{}'; supported are 'gpt2' (byte-level BPE) and 'llama' (SentencePiece)",
                         model));
}

const std::vector<std::string_view>& read_tokens(const GgufFile& file) {
  const std::vector<std::string_view>* tokens = file.get_strings(kTokens);
  if (tokens == nullptr) fail(file, fmt::format("{} is missing: the file has no tokenizer", kTokens));
  if (tokens->empty() || tokens->size() > INT32_MAX)
    fail(file, fmt::format("{} has {} entries; 1 to 2^31 - 1 are possible", kTokens, tokens->size()));
  return *tokens;
}

std::vector<TokenKind> read_kinds(const GgufFile& file, std::size_t tokens) {
  const GgufValue* value = file.find(kKinds);
  if (value == nullptr) return std::vector<TokenKind>(tokens, TokenKind::normal);
  const auto* array = std::get_if<GgufArray>(value);
  std::vector<TokenKind> kinds;
  const auto convert = [&](const auto& numbers) {
    if (numbers.size() != tokens) fail(file, fmt::format("{} has {} entries for {} tokens", kKinds, numbers.size(), tokens));
    kinds.reserve(tokens);
    for (std::size_t i = 0; i < tokens; ++i) {
      if (numbers[i] < 1 || numbers[i] > 6)
        fail(file, fmt::format("{}[{}] is {}, not a token kind (1 to 6)", kKinds, i, numbers[i]));
      kinds.push_back(static_cast<TokenKind>(numbers[i]));
    }
  };
  if (array != nullptr && std::holds_alternative<std::vector<std::int64_t>>(*array)) {
    convert(std::get<std::vector<std::int64_t>>(*array));
  } else if (array != nullptr && std::holds_alternative<std::vector<std::uint64_t>>(*array)) {
    convert(std::get<std::vector<std::uint64_t>>(*array));
  } else {
    fail(file, fmt::format("{} is not an array of integers", kKinds));
  }
  return kinds;
}

std::vector<float> read_scores(const GgufFile& file, std::size_t tokens) {
  const GgufValue* value = file.find(kScores);
  if (value == nullptr) fail(file, fmt::format("{} is missing", kScores));
  const auto* array = std::get_if<GgufArray>(value);
  const auto* numbers = array == nullptr ? nullptr : std::get_if<std::vector<double>>(array);
  if (numbers == nullptr) fail(file, fmt::format("{} is not an array of floating-point numbers", kScores));
  if (numbers->size() != tokens)
    fail(file, fmt::format("{} has {} entries for {} tokens", kScores, numbers->size(), tokens));
  std::vector<float> scores;
  scores.reserve(tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    scores.push_back(static_cast<float>((*numbers)[i]));
    if (!std::isfinite(scores.back()))
      fail(file, fmt::format("{}[{}] is {}, not a finite number", kScores, i, (*numbers)[i]));
  }
  return scores;
}

// Files of before May 2024 do not say how text is split. Llama 3's are known by a token at its place.
std::string_view read_pre_tokenizer(const GgufFile& file, std::span<const std::string_view> tokens) {
  constexpr std::size_t kLlama3Words = 128'000;  // before its special tokens
  const auto name = file.get_string(kPreTokenizer);
  if (!name && tokens.size() > kLlama3Words && tokens[kLlama3Words] == "<|begin_of_text|>") return "llama-bpe";
  if (!name) fail(file, fmt::format("{} is missing: how to split text into words is not known", kPreTokenizer));
  return *name;
}

const std::vector<std::string_view>& read_merges(const GgufFile& file) {
  const std::vector<std::string_view>* merges = file.get_strings(kMerges);
  if (merges == nullptr) fail(file, fmt::format("{} is missing", kMerges));
  if (merges->size() > INT32_MAX) fail(file, fmt::format("{} has {} entries", kMerges, merges->size()));
  return *merges;
}

// -1 if the file has no such key, or says that there is no such token: some converters write -1 for that, as 32 bits.
TokenId read_id(const GgufFile& file, std::string_view key, std::size_t tokens) {
  const auto id = file.get_int(key);
  if (!id || *id == -1 || *id == UINT32_MAX) return -1;
  if (*id < 0 || static_cast<std::uint64_t>(*id) >= tokens)
    fail(file, fmt::format("{} is {}, outside the vocabulary of {} tokens", key, *id, tokens));
  return static_cast<TokenId>(*id);
}

}  // namespace

TokenizerData gguf_tokenizer(const GgufFile& file) {
  if (!file.find("tokenizer.ggml.model")) check_gguf_is_whole(file);  // the first part of a model has it
  TokenizerData data;
  data.path = file.path().string();
  data.algorithm = read_algorithm(file);
  data.tokens = read_tokens(file);
  const std::size_t tokens = data.tokens.size();
  data.kinds = read_kinds(file, tokens);
  data.bos = read_id(file, "tokenizer.ggml.bos_token_id", tokens);
  data.eos = read_id(file, "tokenizer.ggml.eos_token_id", tokens);
  data.unknown = read_id(file, "tokenizer.ggml.unknown_token_id", tokens);
  data.padding = read_id(file, "tokenizer.ggml.padding_token_id", tokens);
  // Tokens for filling in: what pads, and what begins another file or repository.
  for (const std::string_view key :
       {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id", "tokenizer.ggml.fim_pad_token_id",
        "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"})
    if (const TokenId id = read_id(file, key, tokens); id >= 0) data.other_eog.push_back(id);
  data.add_bos = file.get_bool(kAddBos);
  data.add_eos = file.get_bool(kAddEos);
  data.add_space_prefix = file.get_bool("tokenizer.ggml.add_space_prefix");
  if (data.algorithm == TokenAlgorithm::byte_level_bpe) {
    data.pre_tokenizer = read_pre_tokenizer(file, data.tokens);
    data.merges = read_merges(file);
  } else {
    data.scores = read_scores(file, tokens);
  }
  data.chat_template = file.get_string(kChatTemplate).value_or("");
  data.names = {kTokens, kMerges, kPreTokenizer, kAddBos, kAddEos, kChatTemplate};
  return data;
}

}  // namespace warploom
