#include "warploom/score.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/check_request.h"
#include "engine/model_runner.h"
#include "model/loaded_model.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr std::int64_t kTokensAtOnce = 64;  // each has a row of logits: they are what takes memory here

double logprob(std::span<const float> logits, TokenId token) {
  const auto top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - top - std::log(sum);
}

}  // namespace

Score score(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens, const ScoreOptions& options) {
  if (!model) throw InvalidArgument("model is null");
  const ModelShape& shape = model->shape();
  const std::int64_t window = options.window == 0 ? shape.context_length : options.window;
  if (window < 2 || window > shape.context_length)
    throw InvalidArgument(fmt::format("window is {}; it must be in [2, {}]", window, shape.context_length));
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 2) throw InvalidArgument(fmt::format("{} tokens are too few to score; it takes 2", count));
  for (const TokenId token : tokens) check_prompt({&token, 1}, shape);

  const DecoderModel& decoder = decoder_of(*model);
  KvCacheShape shape_of_cache{shape.num_layers, shape.num_kv_heads, shape.head_dim, 1, options.kv_type, options.block_size};
  decoder.backend().check_kv_cache_shape(shape_of_cache);
  const std::int64_t longest = std::min(window, count);
  BlockPool pool(blocks_for(longest, options.block_size), options.block_size);
  ModelRunner runner(decoder, shape_of_cache,
                     {.max_num_tokens = kTokensAtOnce,
                      .max_num_logits = kTokensAtOnce,
                      .max_num_seqs = 1,
                      .max_blocks_per_seq = pool.size()});
  shape_of_cache.num_blocks = pool.size();
  const auto cache = decoder.backend().create_kv_cache(shape_of_cache);
  runner.use(*cache);
  ModelInput input;
  BlockTable table(pool);
  if (!table.ensure_writable(0, longest, input.copies)) throw OutOfMemory("score: the KV cache is too small");

  Score result;
  const auto vocab_size = static_cast<std::size_t>(shape.vocab_size);
  std::vector<float> logits;
  double total = 0;
  for (std::int64_t start = 0; start + 1 < count; start += window) {
    const std::int64_t end = std::min(start + window, count);
    for (std::int64_t from = start; from < end; from += kTokensAtOnce) {
      const std::int64_t to = std::min(from + kTokensAtOnce, end), scored = std::min(to, end - 1) - from;
      input.clear();
      input.token_ids.assign(tokens.begin() + from, tokens.begin() + to);
      input.sequences.push_back({to - from, from - start, table.blocks(), to - from});
      runner.run(input, {}, {});
      logits.resize(static_cast<std::size_t>(to - from) * vocab_size);
      runner.download_logits(logits);
      for (std::int64_t i = 0; i < scored; ++i) {
        const auto row = std::span(logits).subspan(static_cast<std::size_t>(i) * vocab_size, vocab_size);
        result.logprobs.push_back(logprob(row, tokens[static_cast<std::size_t>(from + i + 1)]));
        if (std::isnan(result.logprobs.back()))
          throw ModelError(
              fmt::format("the model gave logits that are not numbers after token {}; its weights are damaged", from + i));
        total -= result.logprobs.back();
      }
    }
  }
  result.mean_nll = total / static_cast<double>(result.logprobs.size());
  result.perplexity = std::exp(result.mean_nll);
  return result;
}

}  // namespace warploom
