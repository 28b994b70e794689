#include "warploom/score.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/divide.h"
#include "engine/check_request.h"
#include "engine/engine_core.h"
#include "engine/prompt_logprobs.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom {

Score score(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens, const ScoreOptions& options) {
  if (!model) throw InvalidArgument("model is null");
  const ModelShape& shape = model->shape();
  const std::int64_t window = options.window == 0 ? shape.context_length : options.window;
  if (window < 2 || window > shape.context_length)
    throw InvalidArgument(fmt::format("window is {}; it must be in [2, {}]", window, shape.context_length));
  const std::int64_t before = options.bos == -1 ? 0 : 1;  // tokens in front of each window's own
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 2 - before)
    throw InvalidArgument(fmt::format("{} tokens are too few to score; it takes {}", count, 2 - before));
  for (const TokenId token : tokens) check_prompt({&token, 1}, shape);
  if (before > 0) check_prompt({&options.bos, 1}, shape);

  EngineOptions engine;
  engine.kv_cache_tokens = std::min(window, before + count);
  engine.block_size = options.block_size;
  engine.kv_type = options.kv_type;
  engine.round_attention = options.round_attention;
  engine.max_num_seqs = 1;
  engine.max_num_batched_tokens = kScoredAtOnce;
  engine.enable_prefix_caching = false;
  EngineCore core(model, model->tokenizer(), engine, EngineCore::Expected{.kv_tokens = 0, .num_logits = kScoredAtOnce});

  Score result;
  double total = 0;
  const std::int64_t step = window - before;
  const std::int64_t windows = ceil_div(count + before - 1, step);  // a last token alone is none
  const std::int64_t to_do = windows * before + std::min(count, windows * step);
  std::int64_t done = 0;
  for (std::int64_t start = 0; start < windows * step; start += step) {
    std::vector<TokenId> prompt(static_cast<std::size_t>(before), options.bos);
    prompt.insert(prompt.end(), tokens.begin() + start, tokens.begin() + std::min(start + step, count));
    Request request;
    request.prompt = std::move(prompt);
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    const auto id = core.add(std::move(request));
    while (core.has_unfinished()) {
      core.step({});
      done += core.last_step().num_tokens;
      if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(to_do));
    }
    for (const double logprob : core.take_output(id).prompt_logprobs) {
      if (std::isnan(logprob))
        throw ModelError(fmt::format("the model gave logits that are not numbers in the window from token {} on", start));
      result.logprobs.push_back(logprob);
      total -= logprob;
    }
  }
  result.mean_nll = total / static_cast<double>(result.logprobs.size());
  result.perplexity = std::exp(result.mean_nll);
  return result;
}

}  // namespace warploom
