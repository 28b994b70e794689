// SmolLM2-135M itself, against what transformers and llama.cpp make of the same weights (tests/data/make_reference.py).
#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/generate.h"
#include "warploom/engine.h"
#include "warploom/score.h"

namespace warploom {
namespace {

std::shared_ptr<const Model> real_model(int threads = 2) {
  const std::string path = std::string(WARPLOOM_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) throw std::runtime_error(path + " is missing: scripts/test fetches it");
  ModelOptions options;
  options.device.threads = threads;
  return Model::load(path, options);
}

const nlohmann::json& reference() {
  static const auto json = nlohmann::json::parse(std::ifstream(std::string(WARPLOOM_TEST_DATA) + "/reference.json"));
  return json;
}

TEST(RealModel, PerplexityIsThatOfTransformers) {
  const auto ids = reference()["perplexity"]["ids"].get<std::vector<TokenId>>();
  ASSERT_GE(ids.size(), 2000u);
  const double want = std::exp(reference()["perplexity"]["transformers_mean_nll"].get<double>());
  for (const DType kv_type : {DType::f16, DType::bf16, DType::int8}) {
    ScoreOptions options;
    options.kv_type = kv_type;
    const Score got = score(real_model(), ids, options);
    EXPECT_NEAR(got.perplexity / want, 1.0, 0.005)
        << got.perplexity << " against " << want << ", type " << static_cast<int>(kv_type);
  }
}

// Inputs are rounded to 8 bits on the way, which moves logits by up to about 1.3 (llama.cpp's by as much): greedy tokens must
// agree wherever the reference's first two are further apart than twice that.
TEST(RealModel, GreedyTokensAgreeWhereTheReferenceIsSure) {
  const auto model = real_model();
  int compared = 0;
  for (const auto& c : reference()["greedy"]) {
    auto prompt = c["prompt_ids"].get<std::vector<TokenId>>();
    const auto ids = c["ids"].get<std::vector<TokenId>>();
    const auto gaps = c["gaps"].get<std::vector<double>>();
    test::Options options;
    options.max_tokens = 1;
    options.sampling.temperature = 0.0f;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (gaps[i] > 2.6) {
        EXPECT_EQ(test::generate(model, {&prompt, 1}, options).at(0).token_ids.at(0), ids[i]) << "step " << i;
        ++compared;
      }
      prompt.push_back(ids[i]);
    }
  }
  EXPECT_GE(compared, 20);
}

TEST(RealModel, AloneEqualsAmongManyWithAnyThreads) {
  const auto model = real_model();
  const std::vector<std::string> texts = {"Once upon a time", "The capital of France is", "def fibonacci(n):", "1 2 3 4 5"};
  std::vector<std::vector<TokenId>> prompts;
  for (int copy = 0; copy < 4; ++copy)
    for (const std::string& text : texts)
      prompts.push_back(model->tokenizer()->encode(text + std::string(static_cast<std::size_t>(copy), '!')));
  test::Options options;
  options.max_tokens = 12;
  options.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 3};
  options.logprobs = true;
  const auto crowd = test::generate(model, prompts, options);
  for (const int threads : {1, 4}) {
    const auto other = real_model(threads);
    for (std::size_t i = 0; i < prompts.size(); i += 5) {
      const test::Result alone = test::generate(other, {&prompts[i], 1}, options).at(0);
      EXPECT_EQ(alone.token_ids, crowd[i].token_ids) << i;
      EXPECT_EQ(alone.logprobs, crowd[i].logprobs) << i;
    }
  }
}

TEST(RealModel, ASharedPrefixIsComputedOnceAndChangesNothing) {
  const auto model = real_model();
  const auto ids = reference()["perplexity"]["ids"].get<std::vector<TokenId>>();
  EngineOptions options;
  options.kv_cache_tokens = 4096;
  options.own_thread = false;
  Engine engine(model, options);
  const auto ask = [&](TokenId question) {
    Request request;
    std::vector<TokenId> prompt(ids.begin(), ids.begin() + 1000);
    prompt.push_back(question);
    request.prompt = std::move(prompt);
    request.max_tokens = 8;
    request.sampling.seed = 9;
    request.logprobs = true;
    return request;
  };
  const auto answer = [&](TokenId question) {
    const RequestHandle handle = engine.submit(ask(question));
    while (engine.step()) {
    }
    return handle.output();
  };
  const RequestOutput first = answer(100);
  const std::uint64_t computed = engine.stats().computed_tokens;
  const RequestOutput second = answer(200);
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(second.cached_tokens, 992);
  // Of the last token drawn nothing is computed.
  EXPECT_EQ(computed, 1001 + first.completions[0].token_ids.size() - 1);
  EXPECT_EQ(engine.stats().computed_tokens - computed, 9 + second.completions[0].token_ids.size() - 1);
  test::expect_same(second.completions[0], generate(model, ask(200)).completions[0], "after a hit");
}

TEST(RealModel, TextIsEnglish) {
  Request request;
  request.prompt = "The quick brown fox jumps over the lazy";
  request.max_tokens = 4;
  request.sampling.temperature = 0.0f;
  const std::string text = generate(real_model(), request).completions.at(0).text;
  EXPECT_TRUE(text.starts_with(" dog")) << text;
}

}  // namespace
}  // namespace warploom
