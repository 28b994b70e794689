#include "engine/prepare_request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/check_request.h"
#include "warploom/generator.h"

namespace warploom {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::string echo_of(const Request& request, const Tokenizer& tokenizer) {
  if (!request.echo) return {};
  if (const auto* text = std::get_if<std::string>(&request.prompt)) return *text;
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&request.prompt)) return tokenizer.decode(*ids);
  return tokenizer.apply_chat_template(std::get<std::vector<ChatMessage>>(request.prompt));
}

std::vector<TokenId> stop_tokens(const Request& request, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids = request.stop_token_ids;
  // A special token never shows in the text, where a stop string is looked for.
  for (const std::string& stop : request.stop)
    if (const TokenId id = tokenizer.special_token(stop); id >= 0) ids.push_back(id);
  if (!request.ignore_eos) ids.insert(ids.end(), tokenizer.eog_token_ids().begin(), tokenizer.eog_token_ids().end());
  return ids;
}

std::vector<std::uint32_t> mask_of(std::span<const TokenId> tokens, std::int64_t vocab_size) {
  if (tokens.empty()) return {};
  std::vector<std::uint32_t> mask(static_cast<std::size_t>((vocab_size + 31) / 32));
  for (const TokenId token : tokens) mask[static_cast<std::size_t>(token / 32)] |= std::uint32_t{1} << token % 32;
  return mask;
}

void ban(std::vector<LogitBias>& bias, std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) bias.push_back({token, kNever});
}

}  // namespace

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, Prompt prompt) {
  if (auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) return std::move(*ids);
  if (const auto* text = std::get_if<std::string>(&prompt)) return tokenizer.encode(*text);
  return tokenizer.encode_chat(std::get<std::vector<ChatMessage>>(prompt));
}

PreparedRequest prepare_request(Request request, const Tokenizer& tokenizer, const ModelShape& shape) {
  check_request(request, shape);
  PreparedRequest prepared;
  prepared.echo = echo_of(request, tokenizer);
  prepared.group = std::make_shared<SequenceGroup>();
  SequenceGroup& group = *prepared.group;
  group.prompt = encode_prompt(tokenizer, std::exchange(request.prompt, {}));
  check_prompt(group.prompt, shape);
  group.priority = request.priority;
  group.sampling = request.sampling;
  group.sampling.seed = request_seed(request.sampling.seed, group.prompt);
  group.first_subsequence = request.first_subsequence;
  group.penalize_prompt = request.penalize_prompt;
  group.penalty_window = request.penalty_window;
  group.stop_token_ids = stop_tokens(request, tokenizer);
  group.logit_bias = request.logit_bias;
  ban(group.logit_bias, request.banned_token_ids);
  if (request.min_tokens > 0) {
    group.early_logit_bias = group.logit_bias;
    ban(group.early_logit_bias, group.stop_token_ids);
  }
  group.max_tokens = request.max_tokens;
  group.min_tokens = request.min_tokens;
  group.n = static_cast<std::uint32_t>(std::max(request.n, request.best_of));
  group.allowed = mask_of(request.allowed_token_ids, shape.vocab_size);
  group.constraint = std::move(request.constraint);
  group.logits_processor = std::move(request.logits_processor);
  group.logprobs = request.logprobs || request.best_of > request.n;
  group.top_logprobs = request.top_logprobs;
  group.logprobs_mode = request.logprobs_mode;
  group.prompt_logprobs = request.prompt_logprobs;
  prepared.request = std::move(request);
  return prepared;
}

}  // namespace warploom
