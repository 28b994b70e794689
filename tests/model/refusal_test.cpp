// What a file holds and this library does not use would be missing from every answer: it is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "model/config.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/inspect.h"
#include "warploom/model.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using More = std::function<void(test::GgufWriter&)>;

std::string refusal(const More& more, const std::string& architecture = "llama") {
  test::TinyModel model;
  model.architecture = architecture;
  model.more = more;
  const test::TemporaryModel file(test::tiny_model(model));
  std::string refused;
  try {
    static_cast<void>(Model::load(file.path()));
  } catch (const ModelError& error) {
    refused = error.what();
    EXPECT_THAT(refused, HasSubstr(file.path().string()));
  }
  EXPECT_EQ(inspect(file.path()).refusal, refused);
  return refused;
}

void add_floats(test::GgufWriter& file, const std::string& name, std::uint64_t count) {
  file.add_tensor(name, 0, {count}, std::vector<std::byte>(count * sizeof(float)));
}

TEST(Refusal, TensorsThatNobodyReads) {
  for (const std::string name : {"blk.0.attn_q_norm.weight", "blk.1.attn_k_norm.weight", "blk.1.post_attention_norm.weight",
                                 "output.bias", "blk.0.attn_norm.bias", "blk.2.attn_norm.weight", "blk.0.attn_q.scale",
                                 "rope_factors_long.weight", "token_embd_norm.weight", "anything"}) {
    for (const std::string architecture : {"llama", "qwen2"})
      EXPECT_THAT(refusal([&](auto& file) { add_floats(file, name, 64); }, architecture),
                  HasSubstr("tensor \"" + name + "\": not supported in models of architecture \"" + architecture + "\""));
  }
  EXPECT_THAT(refusal([](auto& file) {
                for (const char* name : {"one", "two", "three"}) add_floats(file, name, 4);
              }),
              HasSubstr("\"one\" and 2 more"));
}

TEST(Refusal, ATensorThatIsComputedAnewIsNone) {
  EXPECT_EQ(refusal([](auto& file) { add_floats(file, "blk.0.attn_rot_embd.weight", 32); }), "");
  EXPECT_EQ(refusal([](auto& file) { add_floats(file, "blk.0.attn.rope.freqs", 32); }), "");
}

TEST(Refusal, EveryTensorThatIsReadIsAllowed) {
  test::TinyModel model;
  model.tied = false;
  model.biases = true;
  model.more = [](auto& file) {
    for (const std::string name : {"attn_output", "ffn_gate", "ffn_up", "ffn_down"})
      add_floats(file, "blk.0." + name + ".bias", 256);
  };
  const test::TemporaryModel file(test::tiny_model(model));
  EXPECT_NO_THROW(static_cast<void>(Model::load(file.path())));
}

TEST(Refusal, ValuesThatWouldChangeTheArithmetic) {
  const auto with = [](const std::string& key, auto value) {
    return refusal([&](auto& file) { file.add("llama." + key, value); });
  };
  EXPECT_THAT(with("logit_scale", 0.5f), HasSubstr("llama.logit_scale is 0.5: this is not supported"));
  EXPECT_THAT(with("attention.causal", false), HasSubstr("llama.attention.causal is false"));
  EXPECT_THAT(with("final_logit_softcapping", 30.0f), HasSubstr("llama.final_logit_softcapping"));
  EXPECT_THAT(with("attention.max_alibi_bias", 8.0f), HasSubstr("llama.attention.max_alibi_bias"));
  EXPECT_THAT(with("rope.scaling.yarn_log_multiplier", 0.1f), HasSubstr("llama.rope.scaling.yarn_log_multiplier"));
  EXPECT_THAT(with("rope.scaling.mscale_all_dim", 1.0f), HasSubstr("llama.rope.scaling.mscale_all_dim"));
  EXPECT_THAT(with("attention.sliding_window_pattern", std::uint32_t{6}), HasSubstr("sliding_window_pattern is 6"));
  EXPECT_THAT(with("rope.dimension_sections", std::vector<std::int32_t>{16, 24, 24}), HasSubstr("[16, 24, 24]"));
  EXPECT_THAT(with("of_another_day", "x"), HasSubstr("llama.of_another_day is x"));
}

TEST(Refusal, ValuesThatChangeNothingAreNone) {
  EXPECT_EQ(refusal([](auto& file) {
              file.add("llama.vocab_size", std::uint32_t{262});
              file.add("llama.logit_scale", 1.0f);
              file.add("llama.attention.causal", true);
              file.add("llama.attention.max_alibi_bias", 0.0f);
              file.add("llama.expert_used_count", std::uint32_t{0});
              file.add("llama.tensor_data_layout", "Meta AI original pth");
              file.add("llama.rope.scaling.finetuned", true);
              file.add("general.name", "of another day");
              file.add("quantize.imatrix.entries_count", std::uint32_t{7});
            }),
            "");
}

// Said before weights are loaded, and by inspect too.
TEST(Refusal, TypesOfWeightsThatCannotBeUsed) {
  const std::string good = test::tiny_model();
  const std::string name = "blk.1.ffn_down.weight";
  std::string bytes = good;
  const std::uint32_t iq4_nl = 20;  // has blocks of 32 inputs, as Q4_1
  std::memcpy(bytes.data() + good.find(name) + name.size() + 4 + 2 * 8, &iq4_nl, sizeof iq4_nl);
  const test::TemporaryModel file(bytes);
  EXPECT_THAT(inspect(file.path()).refusal, HasSubstr("\"" + name + "\" is of element type IQ4_NL (number 20)"));
  int calls = 0;
  ModelOptions options;
  options.progress = [&](double) { ++calls; };
  EXPECT_THROW(static_cast<void>(Model::load(file.path(), options)), ModelError);
  EXPECT_EQ(calls, 0);
}

TEST(Refusal, APartOfAModelSaysWhichItIs) {
  const auto part = [](std::uint32_t number) {
    return [number](test::GgufWriter& file) {
      file.add("split.no", number);
      file.add("split.count", std::uint32_t{2});
    };
  };
  EXPECT_THAT(refusal(part(0)), HasSubstr("is part 1 of 2 of a model; join the parts"));
  EXPECT_THAT(refusal(part(1)), HasSubstr("is part 2 of 2 of a model"));
  test::GgufWriter later;  // parts after the first have neither an architecture nor a tokenizer
  part(1)(later);
  const test::TemporaryModel file(later.bytes());
  EXPECT_THAT(inspect(file.path()).refusal, HasSubstr("is part 2 of 2"));
  try {
    static_cast<void>(Tokenizer::load(file.path()));
    ADD_FAILURE();
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is part 2 of 2"));
  }
  EXPECT_EQ(refusal([](auto& whole) { whole.add("split.count", std::uint32_t{1}); }), "");
}

TEST(Refusal, AFileThatIsNoModel) {
  EXPECT_THAT(refusal([](auto& file) { file.add("general.type", "adapter"); }), HasSubstr("general.type is \"adapter\""));
  EXPECT_EQ(refusal([](auto& file) { file.add("general.type", "model"); }), "");
}

}  // namespace
}  // namespace warploom
