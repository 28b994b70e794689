#include "engine/check_request.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

void require(bool ok, const std::string& what) {
  if (!ok) throw InvalidArgument(what);
}

}  // namespace

void check_options(const EngineOptions& options) {
  require(options.kv_cache_tokens >= 0,
          fmt::format("kv_cache_tokens is {}; it must be >= 0 (0: by kv_cache_share)", options.kv_cache_tokens));
  require(options.kv_cache_share >= 0.0 && options.kv_cache_share <= 1.0,
          fmt::format("kv_cache_share is {}; it must be in [0, 1] (0: the default)", options.kv_cache_share));
  require(options.block_size >= 1 && options.block_size <= 1024,
          fmt::format("block_size is {}; it must be in [1, 1024]", options.block_size));
  require(options.max_num_seqs >= 1 && options.max_num_seqs <= 4096,
          fmt::format("max_num_seqs is {}; it must be in [1, 4096]", options.max_num_seqs));
  require(options.max_num_batched_tokens >= 1 && options.max_num_batched_tokens <= 1 << 20,
          fmt::format("max_num_batched_tokens is {}; it must be in [1, 2^20]", options.max_num_batched_tokens));
}

void check_request(const Request& request, const ModelShape& shape) {
  validate(request.sampling);
  require(request.max_tokens >= 1, fmt::format("max_tokens is {}; it must be at least 1", request.max_tokens));
  require(request.n >= 1 && request.n <= 65536, fmt::format("n is {}; it must be in [1, 65536]", request.n));
  for (std::size_t i = 0; i < request.stop.size(); ++i)
    require(!request.stop[i].empty(), fmt::format("stop string {} is empty", i));
  const auto in_vocabulary = [&](TokenId token, const char* where) {
    require(token >= 0 && token < shape.vocab_size,
            fmt::format("{}: token {} is not in [0, {})", where, token, shape.vocab_size));
  };
  for (const TokenId token : request.stop_token_ids) in_vocabulary(token, "stop_token_ids");
  for (const LogitBias& bias : request.logit_bias) in_vocabulary(bias.token, "logit_bias");
  for (const TokenId token : request.allowed_token_ids) in_vocabulary(token, "allowed_token_ids");
  require(request.top_logprobs >= 0 && request.top_logprobs <= 1024,
          fmt::format("top_logprobs is {}; it must be in [0, 1024]", request.top_logprobs));
}

void check_prompt(std::span<const TokenId> prompt, const ModelShape& shape) {
  require(!prompt.empty(), "the prompt is empty: it has no token to continue");
  require(static_cast<std::int64_t>(prompt.size()) <= shape.context_length,
          fmt::format("the prompt has {} tokens; the model's context holds {}", prompt.size(), shape.context_length));
  for (const TokenId token : prompt)
    require(token >= 0 && token < shape.vocab_size,
            fmt::format("the prompt's token {} is not in [0, {})", token, shape.vocab_size));
}

}  // namespace warploom
