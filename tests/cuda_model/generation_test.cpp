// Random models on the CUDA backend: what a sequence's tokens are must follow from the sequence alone, whatever the weights, the
// cache and the way that steps are launched.
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "emulator/emulator.h"
#include "support/float_weights.h"
#include "support/generate.h"
#include "support/stepper.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

struct Choice {
  std::string name;
  test::TinyModel shape;
  ModelOptions options;
  DType kv_type = DType::f16;
  std::int64_t block_size = 16;
  bool round_attention = false;
};

ModelOptions on_cuda(bool deterministic = true) {
  ModelOptions options;
  options.device = test::cuda_options();
  options.device.cuda.deterministic = deterministic;
  return options;
}

std::shared_ptr<const Model> load(const ModelOptions& options, const test::TinyModel& shape = {}) {
  const test::TemporaryModel file(test::tiny_model(shape));
  return Model::load(file.path(), options);
}

using test::ragged_prompts;
test::Options sampled(std::int64_t max_tokens = 12) { return test::sampled(max_tokens); }

void expect_same(const std::vector<test::Result>& a, const std::vector<test::Result>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token_ids, b[i].token_ids) << what << ", sequence " << i;
    EXPECT_EQ(a[i].logprobs, b[i].logprobs)
        << what << ", sequence " << i;  // bit for bit: they come straight from the logits
  }
}

TEST(CudaGeneration, AloneEqualsInACrowdWhateverTheChunks) {
  const auto prompts = ragged_prompts(10);
  const auto model = load(on_cuda());
  std::vector<test::Result> alone;
  for (const auto& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, sampled()).at(0));
  for (const std::int64_t chunk : {1, 7, 64, 512}) {
    test::Options options = sampled();
    options.max_num_batched_tokens = chunk;
    expect_same(test::generate(model, prompts, options), alone, "chunks of " + std::to_string(chunk));
  }
}

// Replayed steps draw what freshly launched ones draw, and every step anew.
TEST(CudaGeneration, GraphsChangeNothing) {
  const auto prompts = ragged_prompts(5);
  ModelOptions eager = on_cuda();
  eager.device.cuda.cuda_graphs = false;
  const auto with = load(on_cuda()), without = load(eager);
  for (const bool penalised : {false, true}) {
    test::Options options = sampled(20);
    if (penalised) {
      options.sampling.repetition_penalty = 1.3f;
      options.sampling.frequency_penalty = 0.2f;
      options.logit_bias = {{7, -INFINITY}, {9, 2.0f}};
    }
    const auto replayed = test::generate(with, prompts, options);
    expect_same(replayed, test::generate(without, prompts, options), penalised ? "penalised" : "plain");
    for (const test::Result& g : replayed) {
      EXPECT_GT(std::set<TokenId>(g.token_ids.begin(), g.token_ids.end()).size(), 5u);
      EXPECT_TRUE(!penalised || std::count(g.token_ids.begin(), g.token_ids.end(), 7) == 0);
    }
  }
}

// Kernels that begin before the one ahead has ended draw what kernels one after the other draw, eagerly launched and replayed. On the
// emulator their sanitiser also shows that none touches before its wait what a kernel ahead of it writes.
TEST(CudaGeneration, DependentLaunchesChangeNothing) {
  const auto launches = [] {
    return warploom_emulator_calls != nullptr ? warploom_emulator_calls("cudaLaunchKernelExC") : std::uint64_t{0};
  };
  const bool counted = warploom_emulator_calls != nullptr;
  const char* device = std::getenv("WARPLOOM_EMULATOR_DEVICE");
  if (counted && (device == nullptr || std::string(device) != "h100"))
    GTEST_SKIP() << "an emulated GPU before compute capability 9.0 has none; see CudaGeneration.On_h100";
  for (const bool biased : {false, true})
    for (const std::size_t sequences : {std::size_t{1}, std::size_t{3}, std::size_t{20}}) {
      test::TinyModel shape;
      shape.biases = biased;
      const auto prompts = ragged_prompts(sequences);
      ModelOptions options = on_cuda(!biased);
      if (biased) options.device.cuda.weights = CudaWeights::half;  // products by cuBLASLt between the other kernels
      options.device.cuda.dependent_launch = false;
      const std::uint64_t before = launches();
      const auto want = test::generate(load(options, shape), prompts, sampled());
      EXPECT_EQ(launches(), before);
      options.device.cuda.dependent_launch = true;
      for (const bool graphs : {true, false}) {
        options.device.cuda.cuda_graphs = graphs;
        expect_same(test::generate(load(options, shape), prompts, sampled()), want,
                    std::to_string(sequences) + (graphs ? " sequences, replayed" : " sequences, launched"));
      }
      EXPECT_TRUE(!counted || launches() > before);
    }
}

TEST(CudaGeneration, SmallPoolsSharingAndNoCacheChangeNothing) {
  const auto prompts = ragged_prompts(5, 5);
  const auto model = load(on_cuda());
  test::Options options = sampled();
  options.n = 3;
  const auto want = test::generate(model, prompts, options);
  for (const std::int64_t kv_cache_tokens : {128, 224}) {
    test::Options tight = options;
    tight.kv_cache_tokens = kv_cache_tokens;
    tight.max_num_seqs = 6;
    expect_same(test::generate(model, prompts, tight), want, "a pool of " + std::to_string(kv_cache_tokens));
  }
  test::Options recomputed = options;
  recomputed.use_kv_cache = false;
  recomputed.max_tokens = 4;
  auto short_want = want;
  for (test::Result& g : short_want) g.token_ids.resize(4), g.logprobs.resize(4);
  expect_same(test::generate(model, prompts, recomputed), short_want, "no cache");
}

// A turn computes what is new, in the step buffers and with the recorded steps of the turns before.
TEST(CudaGeneration, ATextThatGrowsIsComputedFromItsEnd) {
  test::TinyModel shape;
  shape.context = 1024;
  const auto model = load(on_cuda(), shape);
  const auto calls = [](const char* name) { return warploom_emulator_calls == nullptr ? 0 : warploom_emulator_calls(name); };
  test::Options options = sampled();
  Generator generator(model);
  options.sampling.presence_penalty = 0.1f;
  std::vector<TokenId> text;
  int turn = 0;
  for (const auto& message : ragged_prompts(5)) {
    text.insert(text.end(), message.begin(), message.end());
    const std::uint64_t allocated = calls("cudaMalloc") + calls("cudaHostAlloc"), recorded = calls("cudaGraphInstantiate");
    const auto got = test::generate(generator, {&text, 1}, options);
    if (turn > 0) {
      EXPECT_EQ(calls("cudaMalloc") + calls("cudaHostAlloc"), allocated) << "turn " << turn;
      EXPECT_LE(calls("cudaGraphInstantiate"), recorded + 1) << "turn " << turn;  // one where the block table doubles
    }
    expect_same(got, test::generate(model, {&text, 1}, options), "turn " + std::to_string(turn));
    if (turn++ > 0) EXPECT_GT(got[0].cached_tokens, 0);
    text.insert(text.end(), got[0].token_ids.begin(), got[0].token_ids.end());
  }
}

// A block whose last owner left NaN behind goes to another sequence.
TEST(CudaGeneration, BlocksOfTheCacheAreReusedWhateverTheyHeld) {
  const auto model = load(on_cuda());
  const auto prompts = ragged_prompts(6, 8);
  test::Options options = sampled();
  const auto want = test::generate(model, prompts, options);
  options.max_num_seqs = 1;  // one after the other in the same blocks
  options.kv_cache_tokens = 128;
  expect_same(test::generate(model, prompts, options), want, "reused blocks");
}

// One makes its buffers while another records a step.
TEST(CudaGeneration, OneModelServesSeveralThreadsAtOnce) {
  const auto prompts = ragged_prompts(4);
  const auto model = load(on_cuda());
  std::vector<test::Result> alone;
  for (const auto& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, sampled(5)).at(0));
  std::vector<std::vector<test::Result>> together(prompts.size());
  std::vector<std::thread> users;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    users.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round)
        together[i].push_back(test::generate(model, {&prompts[i], 1}, sampled(5)).at(0));
    });
  for (std::thread& user : users) user.join();
  for (std::size_t i = 0; i < prompts.size(); ++i)
    expect_same(together[i], {alone[i], alone[i], alone[i]}, "user " + std::to_string(i));
}

// The pool takes what is left when every buffer of a step is there.
TEST(CudaGeneration, LongContextsRunInWhatMemoryThereIs) {
  if (warploom_emulator_limit_memory == nullptr) GTEST_SKIP() << "only the emulator's memory can be limited";
  test::TinyModel shape;
  shape.context = 100000;
  const auto model = load(on_cuda(), shape);
  const auto prompts = ragged_prompts(8);
  test::Options options = sampled(6);
  const auto want = test::generate(model, prompts, options);
  options.max_tokens = 90000;
  options.should_abort = [steps = 0]() mutable { return ++steps > 8; };
  warploom_emulator_limit_memory(std::size_t{500} << 20);
  const auto got = test::generate(model, prompts, options);
  warploom_emulator_limit_memory(std::size_t{8} << 30);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_GE(got[i].token_ids.size(), 6u) << i;
    EXPECT_TRUE(std::equal(want[i].token_ids.begin(), want[i].token_ids.end(), got[i].token_ids.begin())) << i;
  }
}

TEST(CudaGeneration, TheDeviceIsDescribedWithItsMemory) {
  if (warploom_emulator_limit_memory == nullptr) GTEST_SKIP() << "only the emulator's memory can be limited";
  const auto described = [](std::size_t bytes) {
    warploom_emulator_limit_memory(bytes);
    std::string text = load(on_cuda())->device().description;
    warploom_emulator_limit_memory(std::size_t{8} << 30);
    return text;
  };
  EXPECT_NE(described(std::size_t{600} << 20).find(", 600 MiB, "), std::string::npos);
  EXPECT_NE(described((std::size_t{4} << 30) - 1).find(", 4095 MiB, "), std::string::npos);
  EXPECT_NE(described(std::size_t{5} << 30).find(", 5 GiB, "), std::string::npos);
}

TEST(CudaGeneration, EveryWeightTypeCacheTypeAndBlockSizeIsNearTheCpu) {
  std::vector<Choice> choices;
  for (const WeightType type : test::kAllWeightTypes) {
    Choice c{std::string(traits(type).name), {}, on_cuda(false)};
    c.shape.type = type;
    c.shape.tied = type != WeightType::q8_0;
    c.shape.biases = type == WeightType::f16;
    if (type == WeightType::q4_0) c.shape.architecture = "qwen2";
    choices.push_back(c);
  }
  for (const DType type : {DType::f16, DType::bf16, DType::f32})
    for (const std::int64_t block_size : {8, 32}) {
      Choice c{"cache of type " + std::to_string(static_cast<int>(type)) + " in blocks of " + std::to_string(block_size),
               {},
               on_cuda(false)};
      c.kv_type = type;
      c.block_size = block_size;
      choices.push_back(c);
    }
  Choice rounded{"cache of bf16, attention rounded", {}, on_cuda(false)};
  rounded.kv_type = DType::bf16;
  rounded.round_attention = true;
  choices.push_back(rounded);
  for (const DType activations : {DType::f16, DType::bf16}) {
    Choice c{"half", {}, on_cuda(false)};
    c.options.device.cuda.weights = CudaWeights::half;
    c.options.device.cuda.compute_type = activations;
    choices.push_back(c);
  }
  // Teacher-forced: a prompt at once, then token by token, beside the CPU in f32 on the same weights.
  const auto prompt = ragged_prompts(1, 21).at(0);
  for (const Choice& c : choices) {
    const test::TemporaryModel file(test::tiny_model(c.shape));
    test::Stepper cpu(file.path(), std::make_unique<test::FloatWeights>(), 1, 128, 100);
    test::Stepper cuda(file.path(), create_backend(c.options.device), 1, 128, 100, c.kv_type, c.block_size,
                       c.round_attention);
    // Relative to the largest logit, after two layers of products of 256 terms: a few roundings of activations and of the cache.
    const bool coarse = c.kv_type == DType::bf16 || c.options.device.cuda.compute_type == DType::bf16;
    const float tolerance = coarse ? 0.06f : 0.01f;
    for (std::size_t at = 0; at < 9; ++at) {
      const std::vector<std::vector<TokenId>> next = {at == 0 ? prompt
                                                              : std::vector<TokenId>{static_cast<TokenId>(17 * at % 260)}};
      const std::vector<float> want = cpu.step(next), got = cuda.step(next);
      float largest = 0, off = 0;
      for (std::size_t i = 0; i < want.size(); ++i) {
        largest = std::max(largest, std::abs(want[i]));
        off = std::max(off, std::abs(got[i] - want[i]));
      }
      EXPECT_LE(off, tolerance * largest) << c.name << ", step " << at << ", logits up to " << largest;
    }
  }
}

TEST(CudaGeneration, BadOptionsAreRefused) {
  ModelOptions options = on_cuda();
  options.device.cuda.gpu = 99;
  EXPECT_THROW(load(options), InvalidArgument);
  options = on_cuda();
  options.device.cuda.compute_type = DType::f32;
  EXPECT_THROW(load(options), InvalidArgument);
  const auto model = load(on_cuda());
  for (const std::int64_t block_size : {0, -16, 12}) {
    test::Options bad = sampled();
    bad.block_size = block_size;
    EXPECT_THROW(test::generate(model, ragged_prompts(1), bad), InvalidArgument) << block_size;
  }
}

}  // namespace
}  // namespace warploom
