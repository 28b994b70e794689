// Models drawn from a seed: sizes as published, files as llama.cpp makes them, weights that a forward pass stays sane with.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/weights.h"
#include "checkpoint/file_type.h"
#include "checkpoint/quants.h"
#include "checkpoint/random_weight.h"
#include "checkpoint/synthetic_checkpoint.h"
#include "support/generate.h"
#include "support/sanitized.h"
#include "warploom/error.h"
#include "warploom/inspect.h"
#include "warploom/synthetic.h"

namespace warploom {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Checkpoint> checkpoint_of(const char* shape, const char* type) {
  return synthetic_checkpoint(model_shape(shape), type, 1, 2);
}

// What the models' cards on Hugging Face say.
TEST(SyntheticShapes, HaveTheParametersOfTheModels) {
  const std::map<std::string, std::uint64_t> published = {
      {"smollm2-135m", 134'515'008},     {"smollm2-360m", 361'821'120},   {"smollm2-1.7b", 1'711'376'384},
      {"tinyllama-1.1b", 1'100'048'384}, {"llama-2-7b", 6'738'415'616},   {"llama-3.1-8b", 8'030'261'248},
      {"llama-3.2-1b", 1'235'814'400},   {"llama-3.2-3b", 3'212'749'824}, {"mistral-7b-v0.3", 7'248'023'552},
      {"qwen2.5-0.5b", 494'032'768},     {"qwen2.5-1.5b", 1'543'714'304}, {"qwen2.5-3b", 3'085'938'688},
      {"qwen2.5-7b", 7'615'616'512}};
  const std::vector<std::string> names = model_shape_names();
  EXPECT_EQ(names.size(), published.size());
  for (const std::string& name : names)
    EXPECT_EQ(checkpoint_of(name.c_str(), "F32")->tensor_bytes() / 4, published.at(name)) << name;
}

// What llama.cpp prints when it loads its files: MiB, of which it shows two digits.
TEST(SyntheticShapes, HaveTheSizesOfTheFiles) {
  const auto mib = [](const char* shape, const char* type) {
    return static_cast<double>(checkpoint_of(shape, type)->tensor_bytes()) / (1 << 20);
  };
  EXPECT_NEAR(mib("llama-3.2-1b", "Q4_K_M"), 762.81, 0.005);
  EXPECT_NEAR(mib("tinyllama-1.1b", "Q4_K_M"), 636.18, 0.005);
  EXPECT_NEAR(mib("qwen2.5-0.5b", "Q4_K_M"), 373.71, 0.005);
  EXPECT_NEAR(mib("llama-3.1-8b", "Q4_K_M") / 1024, 4.58, 0.005);
}

TEST(SyntheticShapes, HaveTheTensorsOfARealFile) {
  const std::string path = WARPLOOM_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing: scripts/test fetches it";
  const auto count = [](const CheckpointInfo& info) {
    std::map<std::string, int> tensors;  // by type and size: names differ
    for (const CheckpointTensor& t : info.tensors) {
      std::string what = t.type;
      for (const std::int64_t size : t.shape)
        if (size != 1) what += " " + std::to_string(size);
      ++tensors[what];
    }
    return tensors;
  };
  EXPECT_EQ(count(checkpoint_of("smollm2-135m", "Q4_1")->info()), count(inspect(path)));
}

TEST(SyntheticWeights, HaveTheRightSizeInEveryType) {
  for (const WeightType type : test::kAllWeightTypes) {
    WeightView view{type, 256, 512, nullptr, "random"};
    std::vector<std::byte> bytes(view.bytes());
    fill_random(view, bytes.data(), 0.05f, 7, 1);
    view.data = bytes.data();
    double sum = 0, squares = 0;
    std::set<float> values;
    std::vector<float> row(512);
    for (std::int64_t r = 0; r < view.rows; ++r) {
      dequantize_row(view, r, row);
      for (const float v : row) sum += v, squares += v * v, values.insert(v);
    }
    const double n = 256 * 512;
    EXPECT_NEAR(std::sqrt(squares / n), 0.05, 0.0025) << traits(type).name;
    EXPECT_NEAR(sum / n, 0, 0.0025) << traits(type).name;
    EXPECT_GT(values.size(), 1000u) << traits(type).name;
  }
}

TEST(SyntheticWeights, DependOnTheSeedAndNotOnThreads) {
  const WeightView view{WeightType::q4_k, 3000, 2560, nullptr, "random"};  // worth several threads
  const auto draw = [&](std::uint64_t seed, int threads) {
    std::vector<std::byte> bytes(view.bytes());
    fill_random(view, bytes.data(), 0.05f, seed, threads);
    return bytes;
  };
  const auto one = draw(1, 1);
  EXPECT_TRUE(one == draw(1, 4));
  EXPECT_TRUE(one == draw(1, 3));
  EXPECT_FALSE(one == draw(2, 1));
}

TEST(SyntheticCheckpoint, ReadsATensorAsOftenAsIsAsked) {
  const auto checkpoint = checkpoint_of("smollm2-135m", "Q4_K_M");
  const TensorName name{TensorRole::down_proj, 3};
  const auto read = [&](const TensorName& of) {
    const WeightView view = checkpoint->tensor(of, 576, 1536);
    std::vector<std::byte> bytes(view.bytes());
    checkpoint->read(view, 0, view.rows, bytes.data());
    return bytes;
  };
  const std::vector<std::byte> bytes = read(name);
  EXPECT_TRUE(bytes == read(name));
  const WeightView view = checkpoint->tensor(name, 576, 1536);
  std::vector<std::byte> rows(3 * view.row_bytes());
  checkpoint->read(view, 200, 3, rows.data());
  EXPECT_TRUE(std::ranges::equal(rows, std::span(bytes).subspan(200 * view.row_bytes(), rows.size())));
  EXPECT_FALSE(bytes == read({TensorRole::down_proj, 4}));
  EXPECT_THROW(checkpoint->tensor(name, 576, 1537), ModelError);
  EXPECT_THROW(checkpoint->tensor({TensorRole::lm_head}, -1, -1), ModelError);
}

ModelShape tiny_shape(const char* architecture = "llama", bool tied = true) {
  return {architecture, 1000, 128, 3, 256, 4, 2, 64, 512, tied};
}

std::vector<TokenId> generated(const ModelShape& shape, const std::string& type, std::uint64_t seed, int threads = 2) {
  ModelOptions options;
  options.device.threads = threads;
  const auto model = synthetic_model(shape, type, seed, options);
  const std::vector<std::vector<TokenId>> prompts = {{1, 2, 3, 40, 50}};
  return test::generate(model, prompts, test::sampled(20))[0].token_ids;
}

TEST(SyntheticModel, GeneratesTheSameFromTheSameSeedInEveryType) {
  for (const std::string& type : weight_type_names()) {
    const auto tokens = generated(tiny_shape(), type, 1);
    EXPECT_EQ(tokens.size(), 20u) << type;
    EXPECT_GT(std::set(tokens.begin(), tokens.end()).size(), 2u) << type;
    EXPECT_EQ(tokens, generated(tiny_shape(), type, 1, 1)) << type;
    EXPECT_NE(tokens, generated(tiny_shape(), type, 2)) << type;
  }
  EXPECT_EQ(generated(tiny_shape("llama", false), "Q4_0", 1).size(), 20u);
  EXPECT_EQ(generated(tiny_shape("qwen2"), "Q4_0", 1).size(), 20u);
  EXPECT_NE(generated(tiny_shape("qwen2"), "F32", 1), generated(tiny_shape(), "F32", 1));
}

// As many layers as models have: logits keep the deviation of trained models, so that filters keep as many tokens.
TEST(SyntheticModel, LogitsAreOfOrdinarySizeAfterManyLayers) {
  for (const bool tied : {true, false}) {
    ModelShape shape = tiny_shape("llama", tied);
    shape.num_layers = 48;
    test::Options options = test::sampled(10);
    options.sampling = {.temperature = 0.0f};
    options.top_logprobs = 1000;
    const std::vector<std::vector<TokenId>> prompts = {{5, 6, 700, 80}};
    const auto result = test::generate(synthetic_model(shape, "Q4_K_M"), prompts, options)[0];
    ASSERT_EQ(result.top_logprobs.size(), 10u);
    for (const auto& step : result.top_logprobs) {
      double sum = 0, squares = 0;
      for (const TokenLogprob& token : step) sum += token.logprob, squares += token.logprob * token.logprob;
      const auto n = static_cast<double>(step.size());
      EXPECT_EQ(n, 1000);
      EXPECT_NEAR(std::sqrt(squares / n - sum / n * sum / n), 3.0, 0.6);
    }
  }
}

// ctest runs each test in a process of its own: the peak is this model's.
TEST(SyntheticModel, LoadingTakesHardlyMoreMemoryThanTheModel) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  const auto model = synthetic_model(model_shape("smollm2-135m"), "F32");
  std::ifstream status("/proc/self/status");
  double peak = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) peak = 1024 * std::stod(line.substr(6));
  const auto weights = static_cast<double>(model->weight_bytes());
  EXPECT_GT(weights, 4.0 * 134e6);
  EXPECT_GT(peak, weights);
  EXPECT_LT(peak, 1.1 * weights);
}

TEST(SyntheticModel, TextGoesThereAndBack) {
  const auto tokenizer = synthetic_model(tiny_shape(), "F16")->tokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 1000u);
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(all)), all);
  EXPECT_EQ(tokenizer->piece(256), " a");
  EXPECT_EQ(tokenizer->piece(256 + 26), " aa");
  EXPECT_EQ(tokenizer->encode(" a ab"), (std::vector<TokenId>{256, 256 + 26 + 1}));  // words are tokens
  EXPECT_EQ(tokenizer->bos(), 998);
  EXPECT_TRUE(tokenizer->is_eog(999));
  const ChatMessage hello{"user", "hi"};
  EXPECT_EQ(tokenizer->apply_chat_template({&hello, 1}), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
}

template <typename Exception>
std::string message(const ModelShape& shape, const char* type) {
  try {
    synthetic_model(shape, type);
  } catch (const Exception& error) {
    return error.what();
  }
  return "no exception of that type";
}

TEST(SyntheticModel, WhatCannotBeIsRefused) {
  EXPECT_THAT(message<InvalidArgument>(tiny_shape(), "Q9"), HasSubstr("\"Q9\" are not known; known are F32, F16"));
  EXPECT_THROW(model_shape("gpt-5"), InvalidArgument);
  const auto changed = [](auto member, auto value) {
    ModelShape shape = tiny_shape();
    shape.*member = value;
    return shape;
  };
  EXPECT_THAT(message<InvalidArgument>(changed(&ModelShape::vocab_size, 257), "F16"), HasSubstr("vocab_size is 257"));
  EXPECT_THAT(message<InvalidArgument>(changed(&ModelShape::num_layers, 0), "F16"), HasSubstr("num_layers is 0"));
  EXPECT_THAT(message<ModelError>(changed(&ModelShape::hidden_size, -256), "F16"), HasSubstr("hidden_size is -256"));
  EXPECT_THAT(message<ModelError>(changed(&ModelShape::num_kv_heads, 3), "F16"), HasSubstr("cannot share 3"));
  EXPECT_THAT(message<ModelError>(changed(&ModelShape::architecture, "gpt2"), "F16"), HasSubstr("gpt2"));
  EXPECT_EQ(generated({"llama", 258, 64, 1, 80, 5, 5, 16, 80, false}, "Q4_K_M", 1).size(), 20u);  // rows of no whole block
}

}  // namespace
}  // namespace warploom
