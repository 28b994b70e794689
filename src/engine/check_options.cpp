#include "engine/check_options.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

void require(bool ok, const std::string& what) {
  if (!ok) throw InvalidArgument(what);
}

}  // namespace

void check_max_batch(std::int64_t max_num_seqs) {
  require(max_num_seqs >= 1 && max_num_seqs <= 4096,
          fmt::format("max_num_seqs is {}; it must be in [1, 4096]", max_num_seqs));
}

void check_options(const GenerateOptions& options, const ModelShape& shape) {
  validate(options.sampling);
  require(options.max_tokens >= 1, fmt::format("max_tokens is {}; it must be at least 1", options.max_tokens));
  require(options.n >= 1 && options.n <= 65536, fmt::format("n is {}; it must be in [1, 65536]", options.n));
  require(options.kv_cache_tokens >= 0,
          fmt::format("kv_cache_tokens is {}; it must be >= 0 (0: what the request needs)", options.kv_cache_tokens));
  if (options.prefix_cache) {
    require(options.kv_cache, "prefix_cache is given but kv_cache is false");
    require(options.kv_cache_tokens == 0,
            fmt::format("kv_cache_tokens is {}; with a prefix_cache, which is the KV pool, it must be 0",
                        options.kv_cache_tokens));
  }
  require(options.max_num_batched_tokens >= 1,
          fmt::format("max_num_batched_tokens is {}; it must be at least 1", options.max_num_batched_tokens));
  check_max_batch(options.max_num_seqs);
  for (std::size_t i = 0; i < options.stop.size(); ++i)
    require(!options.stop[i].empty(), fmt::format("stop string {} is empty", i));
  const auto in_vocab = [&](TokenId token, const char* where) {
    require(token >= 0 && token < shape.vocab_size,
            fmt::format("{}: token {} is not in [0, {})", where, token, shape.vocab_size));
  };
  for (const TokenId token : options.stop_tokens) in_vocab(token, "stop_tokens");
  for (const LogitBias& bias : options.bias) in_vocab(bias.token, "bias");
}

void check_prompt(std::span<const TokenId> prompt, std::size_t index, const ModelShape& shape) {
  require(!prompt.empty(), fmt::format("prompt {} is empty: it has no token to continue", index));
  require(static_cast<std::int64_t>(prompt.size()) <= shape.context_length,
          fmt::format("prompt {} has {} tokens; the model's context holds {}", index, prompt.size(), shape.context_length));
  for (const TokenId token : prompt)
    require(token >= 0 && token < shape.vocab_size,
            fmt::format("prompt {}: token {} is not in [0, {})", index, token, shape.vocab_size));
}

}  // namespace warploom
