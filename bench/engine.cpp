// What an engine costs a step besides the model: scheduling, packing, detokenising, events. The model's ops do nothing here.
#include <algorithm>

#include <benchmark/benchmark.h>

#include "backend/forwarding_backend.h"
#include "checkpoint/synthetic_checkpoint.h"
#include "engine/engine_core.h"
#include "model/loaded_model.h"

namespace warploom {
namespace {

/// The CPU's memory without its arithmetic. Every row draws the same token.
class IdleBackend final : public ForwardingBackend {
 public:
  IdleBackend() : ForwardingBackend(create_cpu_backend({})) {}

  std::string description() const override { return "idle"; }
  void embed(const EmbedArgs&) override {}
  void rms_norm(const RmsNormArgs&) override {}
  void gather_rows(const GatherRowsArgs&) override {}
  void matmul(const MatmulArgs&) override {}
  void rope_append(const RopeAppendArgs&) override {}
  void paged_attention(const PagedAttentionArgs&) override {}
  void swiglu(const SwigluArgs&) override {}
  void gated_matmul(const GatedMatmulArgs&) override {}
  void copy_block(const CopyBlockArgs&) override {}
  void sample(const SampleArgs& args) override {
    std::fill_n(args.token, args.rows, TokenId{'a'});
    std::fill_n(args.status, args.rows, SampleStatus::ok);
  }
};

// `running` sequences decode a token a step; each token's text and event go to a callback.
void engine_step(benchmark::State& state) {
  const std::int64_t running = state.range(0);
  constexpr std::int64_t kPrompt = 32, kSteps = 400;
  const auto checkpoint = synthetic_checkpoint({"llama", 4096, 2048, 1, 64, 1, 1, 64, 64, true}, "F32", 1, 1);
  const auto model = load_model(*checkpoint, std::make_unique<IdleBackend>());
  EngineOptions options;
  options.max_num_seqs = running;
  options.max_num_batched_tokens = std::max<std::int64_t>(running, 512);
  options.kv_cache_tokens = running * 512;
  EngineCore core(model, model->tokenizer(), options);
  std::int64_t bytes = 0;
  const OnToken on_token = [&](const TokenEvent& event) {
    bytes += static_cast<std::int64_t>(event.text.size());
    return true;
  };
  for (std::int64_t i = 0; i < running; ++i) {
    Request request;
    request.prompt = std::vector<TokenId>(kPrompt, static_cast<TokenId>(i % 4000));
    request.max_tokens = kSteps + 40;
    request.ignore_eos = true;
    request.stop = {"no such text"};
    core.add(std::move(request));
  }
  while (core.stats().generated_tokens < static_cast<std::uint64_t>(2 * running)) core.step(on_token);
  for (auto _ : state) core.step(on_token);
  if (core.last_step().num_generated != running) state.SkipWithError("some sequences did not decode");
  benchmark::DoNotOptimize(bytes);
}
BENCHMARK(engine_step)->Arg(1)->Arg(32)->Arg(256)->Arg(1024)->Unit(benchmark::kMicrosecond)->Iterations(300);

}  // namespace
}  // namespace warploom
