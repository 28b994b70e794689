#include "engine/check_request.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "warploom/generator.h"

namespace warploom {

void check_options(const EngineOptions& options) {
  require_that(options.kv_cache_tokens >= 0, "kv_cache_tokens is {}; it must be >= 0 (0: by kv_cache_share)",
               options.kv_cache_tokens);
  require_that(options.kv_cache_share >= 0.0 && options.kv_cache_share <= 1.0,
               "kv_cache_share is {}; it must be in [0, 1] (0: the default)", options.kv_cache_share);
  require_that(options.block_size >= 1 && options.block_size <= 1024, "block_size is {}; it must be in [1, 1024]",
               options.block_size);
  require_that(!options.round_attention || options.kv_type == DType::bf16,
               "round_attention is true; it is for a kv_type of bf16");
  require_that(options.max_num_seqs >= 1 && options.max_num_seqs <= 4096, "max_num_seqs is {}; it must be in [1, 4096]",
               options.max_num_seqs);
  require_that(options.priority_window >= 0 && options.priority_window <= 1 << 20,
               "priority_window is {}; it must be in [0, 2^20]", options.priority_window);
  require_that(options.max_queued_requests >= 0, "max_queued_requests is {}; it must be >= 0 (0: any number)",
               options.max_queued_requests);
  require_that(options.max_num_batched_tokens >= 0 && options.max_num_batched_tokens <= 1 << 20,
               "max_num_batched_tokens is {}; it must be in [0, 2^20] (0: the device's default)",
               options.max_num_batched_tokens);
}

void check_request(const Request& request, const ModelShape& shape) {
  validate(request.sampling);
  require_that(request.max_tokens >= 0, "max_tokens is {}; it must be at least 0", request.max_tokens);
  require_that(request.min_tokens >= 0 && request.min_tokens <= request.max_tokens,
               "min_tokens is {}; it must be in [0, {}], max_tokens being the latter", request.min_tokens,
               request.max_tokens);
  require_that(request.n >= 1 && request.n <= 65536, "n is {}; it must be in [1, 65536]", request.n);
  require_that(request.penalty_window >= 0, "penalty_window is {}; it must be at least 0 (0: all tokens)",
               request.penalty_window);
  require_that(request.best_of == 0 || (request.best_of >= request.n && request.best_of <= 65536),
               "best_of is {}; it must be 0 (off) or in [{}, 65536], n being the former", request.best_of, request.n);
  const std::int64_t subsequences = (std::int64_t{1} << 32) - std::max(request.n, request.best_of);
  require_that(request.first_subsequence <= subsequences,
               "first_subsequence is {}; with {} completions it must be at most {}", request.first_subsequence,
               std::max(request.n, request.best_of), subsequences);
  require_that(request.priority >= -1000 && request.priority <= 1000, "priority is {}; it must be in [-1000, 1000]",
               request.priority);
  require_that(request.deadline >= 0.0 && request.deadline <= 1e9,
               "deadline is {}; it must be in [0, 1e9] seconds (0: none)", request.deadline);
  for (std::size_t i = 0; i < request.stop.size(); ++i) require_that(!request.stop[i].empty(), "stop string {} is empty", i);
  const auto in_vocabulary = [&](TokenId token, const char* where) {
    require_that(token >= 0 && token < shape.vocab_size, "{}: token {} is not in [0, {})", where, token, shape.vocab_size);
  };
  for (const TokenId token : request.stop_token_ids) in_vocabulary(token, "stop_token_ids");
  for (const LogitBias& bias : request.logit_bias) {
    in_vocabulary(bias.token, "logit_bias");
    require_that(bias.bias < std::numeric_limits<float>::infinity(),
                 "logit_bias: the bias of token {} is {}; it must be a number or -infinity", bias.token, bias.bias);
  }
  for (const TokenId token : request.allowed_token_ids) in_vocabulary(token, "allowed_token_ids");
  for (const TokenId token : request.banned_token_ids) in_vocabulary(token, "banned_token_ids");
  require_that(request.top_logprobs >= 0 && request.top_logprobs <= 1024, "top_logprobs is {}; it must be in [0, 1024]",
               request.top_logprobs);
}

void check_prompt(std::span<const TokenId> prompt, const ModelShape& shape) {
  require_that(!prompt.empty(), "the prompt is empty: it has no token to continue");
  require_that(static_cast<std::int64_t>(prompt.size()) <= shape.context_length,
               "the prompt has {} tokens; the model's context holds {}", prompt.size(), shape.context_length);
  for (const TokenId token : prompt)
    require_that(token >= 0 && token < shape.vocab_size, "the prompt's token {} is not in [0, {})", token, shape.vocab_size);
}

}  // namespace warploom
