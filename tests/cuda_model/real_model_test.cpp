// SmolLM2-135M on the CUDA backend, beside the CPU's f32 arithmetic on the same weights.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "support/float_weights.h"
#include "support/generate.h"
#include "support/stepper.h"
#include "warploom/engine.h"
#include "warploom/synthetic.h"

namespace warploom {
namespace {

constexpr std::int64_t kSteps = 16;

const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = {"Once upon a time",
                                               "The capital of France is",
                                               "def fibonacci(n):",
                                               "1 2 3 4 5",
                                               "The quick brown fox jumps over the lazy",
                                               "In 1969, the first",
                                               "Water boils at",
                                               "My favourite colour",
                                               "To be or not to be,",
                                               "SELECT name FROM",
                                               "The mitochondria is the",
                                               "Dear Sir or Madam,",
                                               "She opened the door and",
                                               "import numpy as np",
                                               "Question: What is 2 + 2? Answer:",
                                               "A"};
  return all;
}

struct Top {
  TokenId token = -1;
  float gap = 0;  // to the second
};
Top top_of(std::span<const float> row) {
  const auto best = std::max_element(row.begin(), row.end());
  float second = -INFINITY;
  for (auto it = row.begin(); it != row.end(); ++it)
    if (it != best) second = std::max(second, *it);
  return {static_cast<TokenId>(best - row.begin()), *best - second};
}

// Activations and weights are rounded to 16 bits before each product, so logits (of about 10 to 30) move by a few hundredths.
// The CPU's own 8-bit inputs move them by up to 1.3: tests/engine/real_model_test.cpp.
constexpr float kTolerance = 0.1f;

TEST(CudaModel, LogitsAndGreedyTokensAreThoseOfTheCpuAtEveryStep) {
  const std::string path = test::real_model_path();
  const auto count = static_cast<std::int64_t>(texts().size());
  test::Stepper cpu(path, std::make_unique<test::FloatWeights>(), count, 64, 256);
  test::Stepper cuda(path, test::cuda_backend(), count, 64, 256);
  const auto tokenizer = Tokenizer::load(path);
  std::vector<std::vector<TokenId>> next;
  for (const std::string& text : texts()) next.push_back(tokenizer->encode(text));

  float largest = 0;
  int compared = 0;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::vector<float> want = cpu.step(next), got = cuda.step(next);
    const auto vocab_size = static_cast<std::size_t>(cpu.vocab_size());
    for (std::size_t s = 0; s < next.size(); ++s) {
      const auto expected = std::span(want).subspan(s * vocab_size, vocab_size),
                 row = std::span(got).subspan(s * vocab_size, vocab_size);
      for (std::size_t i = 0; i < vocab_size; ++i) largest = std::max(largest, std::abs(row[i] - expected[i]));
      const Top top = top_of(expected);
      if (top.gap > 2 * kTolerance) {
        EXPECT_EQ(top_of(row).token, top.token) << "prompt " << s << " step " << step << " gap " << top.gap;
        ++compared;
      }
      next[s] = {top.token};
    }
    ASSERT_LE(largest, kTolerance) << "step " << step;
  }
  RecordProperty("largest_difference", std::to_string(largest));
  std::printf("largest difference of a logit: %.4f; %d of %lld greedy tokens compared\n", largest, compared,
              static_cast<long long>(count * kSteps));
  EXPECT_GE(compared, count * kSteps * 3 / 4);
}

// The tokens that the device draws are those that the CPU draws from the device's logits, bit by bit; and with most random numbers
// those of the CPU's own logits: not where a draw falls within the difference.
TEST(CudaModel, SampledTokensAreThoseOfItsLogits) {
  const std::string path = test::real_model_path();
  constexpr std::int64_t kSequences = 8;
  test::Stepper cpu(path, std::make_unique<test::FloatWeights>(), kSequences, 64, 128);
  test::Stepper cuda(path, test::cuda_backend(), kSequences, 64, 128);
  const auto tokenizer = Tokenizer::load(path);
  const std::vector<SamplingParams> kinds = {
      {.temperature = 1.0f, .seed = 5},
      {.temperature = 0.7f, .seed = 6},
      {.temperature = 1.0f, .top_k = 50, .seed = 7},
      {.temperature = 1.0f, .top_p = 0.9f, .seed = 8},
      {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 9},
      {.temperature = 1.0f, .min_p = 0.05f, .seed = 10},
      {.temperature = 0.9f, .repetition_penalty = 1.2f, .seed = 11},
      {.temperature = 0.9f, .frequency_penalty = 0.3f, .presence_penalty = 0.2f, .seed = 12}};
  std::vector<std::vector<TokenId>> next, history;
  for (std::size_t s = 0; s < kSequences; ++s) next.push_back(tokenizer->encode(texts()[s]));
  history = next;
  int same = 0, all = 0;
  constexpr std::uint64_t kDraws = 32;  // of each row, so that the share that is the same is known to half a percent
  for (std::uint64_t step = 0; step < 16; ++step) {
    std::vector<SamplingInput> rows(kSequences);
    for (std::size_t s = 0; s < kSequences; ++s) {
      rows[s].params = kinds[s];
      rows[s].position = step;
      rows[s].history = history[s];
    }
    std::vector<SampleResult> drawn(kSequences);
    const std::vector<float> want = cpu.step(next), got = cuda.step(next, rows, drawn);
    const LogitsView view{got.data(), DType::f32, kSequences, cuda.vocab_size(), cuda.vocab_size()};
    const LogitsView cpu_view{want.data(), DType::f32, kSequences, cuda.vocab_size(), cuda.vocab_size()};
    const auto again = sample(view, rows);
    for (std::size_t s = 0; s < kSequences; ++s) {
      EXPECT_EQ(drawn[s].token, again[s].token) << "sequence " << s << " step " << step;
      EXPECT_EQ(drawn[s].status, SampleStatus::ok);
      next[s] = {drawn[s].token};
    }
    for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
      for (SamplingInput& row : rows) row.position = step + 16 * draw;
      const auto device = sample(view, rows), own = sample(cpu_view, rows);
      for (std::size_t s = 0; s < kSequences; ++s) same += own[s].token == device[s].token, ++all;
    }
    for (std::size_t s = 0; s < kSequences; ++s) history[s].push_back(drawn[s].token);
  }
  std::printf("%d of %d tokens drawn from the CPU's logits too\n", same, all);
  EXPECT_GE(same, all * 95 / 100);
}

// 32 sequences in a pool for a few, each four of which continue one prompt, whose blocks they share and copy when they write: each is
// what it is alone.
TEST(CudaModel, EachOfManyIsWhatItIsAlone) {
  DeviceOptions device = test::cuda_options();
  device.cuda.deterministic = true;
  ModelOptions options;
  options.device = device;
  // SmolLM2's sizes, with fewer layers and a smaller vocabulary, which would only repeat the same kernels.
  ModelShape shape = model_shape("smollm2-135m");
  shape.num_layers = 4;
  shape.vocab_size = 16384;
  const auto model = synthetic_model(shape, "Q4_1", 1, options);
  test::Options generation;
  generation.max_tokens = 5;
  generation.ignore_eos = true;
  generation.sampling = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .seed = 4};
  generation.logprobs = true;
  generation.n = 4;
  std::vector<std::vector<TokenId>> prompts;
  for (TokenId p = 0; p < 8; ++p) {
    prompts.emplace_back();
    for (TokenId i = 0; i < 10 + p; ++i) prompts.back().push_back((1000 * p + 37 * i) % 16384);
  }
  const auto roomy = test::generate(model, prompts, generation);
  ASSERT_EQ(roomy.size(), 32u);
  test::Options tight = generation;
  tight.kv_cache_tokens = 16 * 10;  // of about 32: sequences wait, are preempted, and share
  std::vector<RequestOutput> outputs;
  Engine engine(model, tight);
  std::vector<RequestHandle> handles;
  for (const Request& request : test::requests_for(prompts, tight)) handles.push_back(engine.submit(request));
  for (const RequestHandle& handle : handles) outputs.push_back(handle.output());
  ASSERT_TRUE(engine.drain(Seconds(60)));
  EXPECT_GT(engine.stats().preemptions, 0u);
  const auto squeezed = test::flat(std::move(outputs));
  for (std::size_t i = 0; i < roomy.size(); ++i) {
    EXPECT_EQ(squeezed[i].token_ids, roomy[i].token_ids) << i;
    EXPECT_EQ(squeezed[i].logprobs, roomy[i].logprobs) << i;
  }
  generation.n = 1;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const test::Result alone = test::generate(model, {&prompts[p], 1}, generation).at(0);
    EXPECT_EQ(alone.token_ids, roomy[4 * p].token_ids) << p;
    EXPECT_EQ(alone.logprobs, roomy[4 * p].logprobs) << p;
  }
}

}  // namespace
}  // namespace warploom
