#include "decode_step.h"

#include <chrono>

#include <fmt/format.h>

#include "core/divide.h"
#include "measure.h"
#include "random.h"
#include "warploom/engine.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr std::int64_t kStepTokens = 2048;
// The prompts may end in such a step; the second with equal ops is captured, later ones replay it.
constexpr int kWarmUps = 4;

std::vector<TokenId> random_prompt(const std::vector<TokenId>& tokens, std::int64_t length, std::uint64_t stream) {
  Random random(1, stream);
  std::vector<TokenId> prompt(static_cast<std::size_t>(length));
  for (TokenId& id : prompt) id = tokens[random() % tokens.size()];
  return prompt;
}

}  // namespace

GpuMeasurement measure_step(const std::shared_ptr<const Model>& model, std::int64_t context, std::int64_t batch, int repeats,
                            const std::function<DeviceWork()>& work) {
  const std::int64_t prompt_steps = ceil_div(batch * (context + 1), kStepTokens) + 1,
                     length = 2 * prompt_steps + kWarmUps + repeats;
  if (context + length > model->shape().context_length)
    throw InvalidArgument(
        fmt::format("-b and -c: {} sequences of {} tokens take {} tokens more, beyond the model's context of {}", batch,
                    context, length, model->shape().context_length));
  EngineOptions options;
  options.own_thread = false;
  options.max_num_seqs = batch;
  options.max_num_batched_tokens = std::max(kStepTokens, batch);
  options.enable_prefix_caching = false;
  options.kv_cache_tokens = batch * (ceil_div(context + length, options.block_size) + 1) * options.block_size;
  Engine engine(model, options);
  std::int64_t came = 0;
  const std::vector<TokenId> tokens = ordinary_tokens(*model);
  Request request;
  request.max_tokens = length;
  request.ignore_eos = true;
  request.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f};
  std::vector<RequestHandle> handles;
  for (std::int64_t i = 0; i < batch; ++i) {
    request.prompt = random_prompt(tokens, context, static_cast<std::uint64_t>(i));
    handles.push_back(engine.submit(request, [&came](const TokenEvent& event) {
      came += event.token >= 0;
      return true;
    }));
  }
  GpuMeasurement m{fmt::format("step {} after {}", batch, context),
                   "warm",
                   work ? GpuClock::model : GpuClock::host,
                   static_cast<double>(model->weight_bytes()) +
                       static_cast<double>(batch * context * model->shape().kv_bytes_per_token(options.kv_type)),
                   0,
                   {}};
  for (int full = 0; static_cast<int>(m.runs.size()) < repeats;) {
    came = 0;
    if (work) (void)work();
    const auto begin = std::chrono::steady_clock::now();
    const bool more = engine.step();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    const double seconds = work ? work().seconds : wall.count();
    if (came == batch && ++full > kWarmUps) m.runs.push_back(1e6 * seconds);
    if (!more && static_cast<int>(m.runs.size()) < repeats) {
      const RequestOutput& first = handles.front().output();
      throw BackendError(fmt::format("{}: the sequences ended after {} of {} steps{}{}", m.test, m.runs.size(), repeats,
                                     first.error.empty() ? "" : ": ", first.error));
    }
  }
  return m;
}

}  // namespace warploom::bench
