// What the rest of the library asks a checkpoint for by canonical names, and what it hears.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "model/config.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

using testing::HasSubstr;

test::TinyModel of_architecture(const std::string& name) {
  test::TinyModel model;
  model.architecture = name;
  return model;
}

std::string error_of(const test::TinyModel& model) {
  const test::TemporaryModel file(test::tiny_model(model));
  try {
    read_config(*open_checkpoint(file.path()));
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), HasSubstr(file.path().string()));
    return error.what();
  }
  return "no error";
}

TEST(CheckpointNames, AreTranslatedAndShownAsTheFileHasThem) {
  test::TinyModel model = of_architecture("qwen2");
  model.biases = true;
  const test::TemporaryModel file(test::tiny_model(model));
  const auto checkpoint = open_checkpoint(file.path());
  EXPECT_EQ(checkpoint->architecture(), "qwen2");
  EXPECT_FALSE(checkpoint->rope_interleaved());
  EXPECT_EQ(checkpoint->get_int(ConfigKey::num_hidden_layers), 2);
  EXPECT_EQ(checkpoint->get_int(ConfigKey::sliding_window), std::nullopt);
  EXPECT_EQ(checkpoint->name_of(ConfigKey::num_attention_heads), "qwen2.attention.head_count");
  const TensorName bias{TensorRole::k_proj, 1, TensorPart::bias};
  EXPECT_TRUE(checkpoint->has(bias));
  EXPECT_EQ(checkpoint->tensor(bias, 1, 128).name, "blk.1.attn_k.bias");
  EXPECT_FALSE(checkpoint->has({TensorRole::k_proj, 2}));
  EXPECT_FALSE(checkpoint->has({TensorRole::lm_head}));
}

TEST(CheckpointNames, ErrorsNameTheFilesOwnKeys) {
  EXPECT_THAT(error_of(of_architecture("mamba")),
              HasSubstr("architecture \"mamba\" is not supported; supported are llama and qwen2"));
  test::TinyModel model;
  model.layers = 0;
  EXPECT_THAT(error_of(model), HasSubstr("llama.block_count is 0, outside [1, 4096]"));
  model.layers = 1;
  model.heads = 3;
  EXPECT_THAT(error_of(model), HasSubstr("3 attention heads cannot share 2 key-value heads evenly"));
}

TEST(CheckpointNames, EveryLayerHasItsConfiguration) {
  test::TinyModel model;
  model.more = [](test::GgufWriter& file) { file.add("llama.attention.sliding_window", std::uint32_t{64}); };
  const test::TemporaryModel file(test::tiny_model(model));
  const ModelConfig config = read_config(*open_checkpoint(file.path()));
  ASSERT_EQ(config.layers.size(), 2u);
  for (const LayerConfig& layer : config.layers) {
    EXPECT_EQ(layer.sliding_window, 64);
    EXPECT_EQ(layer.intermediate_size, 256);
    EXPECT_EQ(layer.rope, 0u);
  }
}

TEST(Inspect, SaysWhyAModelWouldBeRefused) {
  const test::TemporaryModel good(test::tiny_model()), bad(test::tiny_model(of_architecture("mamba")));
  const CheckpointInfo info = inspect(good.path());
  EXPECT_EQ(info.format, "GGUF version 3");
  EXPECT_EQ(info.refusal, "");
  ASSERT_TRUE(info.shape.has_value());
  EXPECT_EQ(info.shape->kv_bytes_per_token(DType::f16), 2 * 2 * 2 * 64 * 2);
  const CheckpointInfo refused = inspect(bad.path());
  EXPECT_FALSE(refused.shape.has_value());
  EXPECT_THAT(refused.refusal, HasSubstr("\"mamba\" is not supported"));
  EXPECT_EQ(refused.tensors.size(), info.tensors.size());
}

}  // namespace
}  // namespace warploom
