#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/check_options.h"
#include "engine/run.h"
#include "warploom/error.h"
#include "warploom/kv_blocks.h"

namespace warploom {

namespace {

constexpr std::int64_t kRows = 64;  // rows of logits a step: they are what takes memory here

double logprob(std::span<const float> logits, TokenId token) {
  const auto top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - top - std::log(sum);
}

}  // namespace

Score score(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens, std::int64_t window) {
  const Engine engine = engine_for(model, model ? model->tokenizer() : nullptr);
  const std::int64_t context = engine.shape.context_length, vocab_size = engine.shape.vocab_size;
  if (window == 0) window = context;
  if (window < 2 || window > context)
    throw InvalidArgument(fmt::format("window is {}; it must be in [2, {}]", window, context));
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 2) throw InvalidArgument(fmt::format("{} tokens are too few to score; it takes 2", count));
  for (const TokenId token : tokens) check_prompt({&token, 1}, 0, engine.shape);

  const std::int64_t longest = std::min(window, count);
  const std::int64_t blocks = blocks_for(longest, engine.block_size);
  BlockPool pool(blocks, engine.block_size);
  const auto cache = engine.create_cache(blocks);
  const auto session =
      engine.create_runner({.max_tokens = kRows, .max_outputs = kRows, .max_sequences = 1, .max_blocks_per_seq = blocks});
  BlockTable table(pool);
  table.ensure_writable(0, longest, [](std::int32_t, std::int32_t) {});

  Score result;
  ModelInput input;
  std::vector<float> logits;
  double total = 0;
  for (std::int64_t start = 0; start + 1 < count; start += window) {
    const std::int64_t end = std::min(start + window, count);
    for (std::int64_t from = start; from < end; from += kRows) {
      const std::int64_t to = std::min(from + kRows, end);
      input.clear();
      input.block_tables.assign(table.blocks().begin(), table.blocks().end());
      input.max_blocks_per_seq = blocks;
      for (std::int64_t i = from; i < to; ++i) {
        input.ids.push_back(tokens[static_cast<std::size_t>(i)]);
        input.positions.push_back(static_cast<std::int32_t>(i - start));
        input.sequences.push_back(0);
        if (i + 1 < end) input.outputs.push_back(static_cast<std::int32_t>(i - from));
      }
      session->run(input, *cache);
      logits.resize(input.outputs.size() * static_cast<std::size_t>(vocab_size));
      session->download_logits(logits);
      for (std::size_t r = 0; r < input.outputs.size(); ++r) {
        const auto row =
            std::span(logits).subspan(r * static_cast<std::size_t>(vocab_size), static_cast<std::size_t>(vocab_size));
        result.logprobs.push_back(logprob(row, tokens[static_cast<std::size_t>(from) + r + 1]));
        if (std::isnan(result.logprobs.back()))
          throw ModelError(fmt::format("the model gave logits that are not numbers after token {}; its weights are damaged",
                                       from + static_cast<std::int64_t>(r)));
        total -= result.logprobs.back();
      }
    }
  }
  result.mean_nll = total / static_cast<double>(result.logprobs.size());
  result.perplexity = std::exp(result.mean_nll);
  return result;
}

}  // namespace warploom
