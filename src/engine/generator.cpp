#include "warploom/generator.h"

#include <algorithm>

#include "core/sampling_params.h"
#include "engine/check_options.h"
#include "engine/prefix_cache.h"
#include "engine/run.h"
#include "engine/run_memory.h"
#include "engine/scheduler.h"
#include "warploom/error.h"
#include "warploom/kv_blocks.h"

namespace warploom {

namespace {

/// Tokens that a sequence may come to hold.
std::int64_t longest(std::span<const TokenId> prompt, const GenerateOptions& options, const ModelShape& shape) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  return options.max_tokens >= shape.context_length - size ? shape.context_length : size + options.max_tokens;
}

/// Blocks of the KV pool: enough for the longest sequences that can run at a time, with a spare block each for the copy that
/// a shared one may need, but no more than asked for.
std::int64_t pool_blocks(std::span<const std::vector<TokenId>> prompts, const GenerateOptions& options,
                         const Engine& engine) {
  std::vector<std::int64_t> needs;
  for (const auto& prompt : prompts)
    needs.insert(needs.end(), static_cast<std::size_t>(options.n),
                 blocks_for(longest(prompt, options, engine.shape), engine.block_size) + 1);
  std::sort(needs.rbegin(), needs.rend());
  needs.resize(std::min(needs.size(), static_cast<std::size_t>(options.max_num_seqs)));
  std::int64_t sum = 0;
  for (const std::int64_t n : needs) sum += n;
  if (options.kv_cache_tokens > 0) sum = std::min(sum, blocks_for(options.kv_cache_tokens, engine.block_size));
  return blocks_with_room(engine, sum);
}

/// What the request takes: of steps, and of the scheduler.
struct Plan {
  Scheduler::Limits limits;
  BatchLimits step;
};

Plan plan_for(std::span<const std::vector<TokenId>> prompts, const GenerateOptions& options, const Engine& engine) {
  const std::int64_t total = static_cast<std::int64_t>(prompts.size()) * options.n;
  std::int64_t max_query_len = 0, pending = 0;
  // Texts may grow from call to call: step buffers need not.
  if (options.prefix_cache) max_query_len = std::min(engine.shape.context_length, options.prefix_cache->capacity());
  for (const auto& prompt : prompts) {
    max_query_len = std::max(max_query_len, longest(prompt, options, engine.shape));
    pending += static_cast<std::int64_t>(prompt.size());
  }
  Plan plan;
  Scheduler::Limits& limits = plan.limits;
  limits.max_num_seqs = std::min(total, options.max_num_seqs);
  limits.context_length = engine.shape.context_length;
  limits.kv_cache = options.kv_cache;
  limits.logprobs = options.logprobs;
  limits.abort_requested = options.abort_requested;
  // No step need hold more than there is to compute at once.
  const bool recomputes = !options.kv_cache || options.kv_cache_tokens > 0;
  std::int64_t at_once = recomputes ? max_query_len * limits.max_num_seqs : pending + total;
  if (options.prefix_cache) at_once = std::max(at_once, GenerateOptions().max_num_batched_tokens);
  limits.max_num_batched_tokens = std::min(options.max_num_batched_tokens, at_once);

  plan.step = batch_limits(limits.max_num_batched_tokens, limits.max_num_seqs, max_query_len, engine.block_size);
  plan.step.history = has_penalties(options.sampling) ? limits.max_num_seqs * max_query_len : 0;
  plan.step.biases = limits.max_num_seqs * static_cast<std::int64_t>(options.bias.size());
  return plan;
}

std::vector<Generation> run_in(RunMemory& memory, const Scheduler::Limits& limits, const Engine& engine,
                               std::span<const std::vector<TokenId>> prompts, const GenerateOptions& options,
                               const TokenCallback& callback) {
  std::vector<Sequence> sequences;
  sequences.reserve(prompts.size() * static_cast<std::size_t>(options.n));
  for (std::size_t p = 0; p < prompts.size(); ++p)
    for (int i = 0; i < options.n; ++i)
      sequences.emplace_back(memory.pool(), engine.tokenizer, options, p, static_cast<std::uint32_t>(i), prompts[p]);
  Scheduler(memory, limits).run(sequences, callback);
  memory.pool().check();

  std::vector<Generation> generations;
  for (Sequence& sequence : sequences) generations.push_back(std::move(sequence.generation));
  return generations;
}

}  // namespace

std::vector<Generation> run_generation(const Engine& engine, std::span<const std::vector<TokenId>> prompts,
                                       const GenerateOptions& options, const TokenCallback& callback) {
  check_options(options, engine.shape);
  for (std::size_t i = 0; i < prompts.size(); ++i) check_prompt(prompts[i], i, engine.shape);
  if (prompts.empty()) return {};

  const Plan plan = plan_for(prompts, options, engine);
  if (options.prefix_cache) {
    const PrefixCacheUse use(*options.prefix_cache);
    if (&use.model() != engine.model) throw InvalidArgument("prefix_cache is of another model");
    use.memory().fit_session(engine, plan.step);
    return run_in(use.memory(), plan.limits, engine, prompts, options, callback);
  }
  RunMemory memory;
  memory.fit_session(engine, plan.step);
  memory.make_pool(engine, pool_blocks(prompts, options, engine));
  return run_in(memory, plan.limits, engine, prompts, options, callback);
}

Engine engine_for(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Tokenizer>& tokenizer) {
  if (!model) throw InvalidArgument("model is null");
  if (!tokenizer) throw InvalidArgument("tokenizer is null");
  Engine engine;
  engine.model = model.get();
  engine.shape = model->shape();
  engine.tokenizer = tokenizer;
  engine.block_size = kv_block_size_of(*model);
  engine.create_runner = [model](BatchLimits limits) {
    limits.kv_type = kv_type_of(*model);
    limits.kv_block_size = kv_block_size_of(*model);
    return create_runner(transformer_of(*model), limits);
  };
  engine.create_cache = [model](std::int64_t blocks) {
    const ModelShape& shape = model->shape();
    return transformer_of(*model).backend().create_kv_cache(
        {shape.num_layers, shape.num_kv_heads, shape.head_dim, blocks, kv_type_of(*model), kv_block_size_of(*model)});
  };
  engine.room_for_blocks = [model] {
    const std::uint64_t free = transformer_of(*model).backend().free_bytes();
    // What the driver takes yet for kernels and recorded steps, and fragments.
    const std::uint64_t reserve = std::min<std::uint64_t>(free / 8, std::uint64_t{512} << 20);
    const std::uint64_t block = model->memory().kv_per_token * static_cast<std::uint64_t>(kv_block_size_of(*model));
    return static_cast<std::int64_t>(std::min<std::uint64_t>((free - reserve) / block, INT32_MAX));
  };
  return engine;
}

std::vector<Generation> generate(const std::shared_ptr<const Model>& model, std::span<const std::vector<TokenId>> prompts,
                                 const GenerateOptions& options, const TokenCallback& callback) {
  return run_generation(engine_for(model, model ? model->tokenizer() : nullptr), prompts, options, callback);
}

Generator::Generator(std::shared_ptr<const Model> model) : Generator(model, model ? model->tokenizer() : nullptr) {}

Generator::Generator(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {
  if (!model_) throw InvalidArgument("model is null");
  if (!tokenizer_) throw InvalidArgument("tokenizer is null");
}

std::string Generator::generate(std::string_view prompt, const GenerateOptions& options,
                                const TokenCallback& callback) const {
  if (options.n != 1) throw InvalidArgument("n must be 1 where a single text is returned; use generate_batch");
  const std::string text(prompt);
  return generate_batch({&text, 1}, options, callback).at(0).text;
}

std::string Generator::generate(std::string_view prompt, std::int64_t max_tokens, float temperature, std::int64_t top_k,
                                float top_p, std::uint64_t seed) const {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = temperature;
  options.sampling.top_k = top_k;
  options.sampling.top_p = top_p;
  options.sampling.seed = seed;
  return generate(prompt, options);
}

std::vector<Generation> Generator::generate_batch(std::span<const std::string> prompts, const GenerateOptions& options,
                                                  const TokenCallback& callback) const {
  std::vector<std::vector<TokenId>> ids;
  for (const std::string& prompt : prompts) ids.push_back(tokenizer_->encode(prompt));
  return run_generation(engine_for(model_, tokenizer_), ids, options, callback);
}

}  // namespace warploom
