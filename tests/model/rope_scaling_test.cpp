// Every way in which files ask for scaled positions, against transformers (data/make_rope_scaling.py).
#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "cpu/rope_table.h"
#include "model/config.h"
#include "support/tiny_model.h"
#include "warploom/error.h"

namespace warploom {
namespace {

ModelConfig config_of(const test::TinyModel& model) {
  const test::TemporaryModel file(test::tiny_model(model));
  return read_config(*open_checkpoint(file.path()));
}

ModelConfig config_with(const std::function<void(test::GgufWriter&)>& more) {
  test::TinyModel model;
  model.more = more;
  return config_of(model);
}

std::string error_with(const std::function<void(test::GgufWriter&)>& more) {
  try {
    config_with(more);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "no error";
}

TEST(RopeScaling, FrequenciesAreThoseOfTransformers) {
  const auto data = nlohmann::json::parse(std::ifstream(WARPLOOM_TEST_DATA "/rope_scaling.json"));
  ASSERT_GE(data["cases"].size(), 4u);
  for (const auto& c : data["cases"]) {
    test::TinyModel model;
    model.dim = 512;
    model.heads = model.kv_heads = 512 / c["head_dim"].get<std::uint32_t>();
    model.more = [&](test::GgufWriter& file) {
      file.add("llama.rope.freq_base", c["base"].get<float>());
      file.add("llama.rope.scaling.type", c["rope_type"].get<std::string>());
      file.add("llama.rope.scaling.factor", c["factor"].get<float>());
      file.add("llama.rope.scaling.original_context_length", c["original"].get<std::uint32_t>());
      if (c.contains("beta_fast")) file.add("llama.rope.scaling.yarn_beta_fast", c["beta_fast"].get<float>());
      if (c.contains("beta_slow")) file.add("llama.rope.scaling.yarn_beta_slow", c["beta_slow"].get<float>());
    };
    const RopeParams rope = config_of(model).ropes.at(0).params;
    cpu::RopeTable table(rope, nullptr);
    table.extend(1);
    const float* row = table.row(1);
    const double attention = c["attention_factor"];
    for (std::int64_t i = 0; i < rope.dims / 2; ++i) {
      const double cosine = row[2 * i], sine = row[rope.dims + 2 * i + 1],
                   want = c["frequencies"][static_cast<std::size_t>(i)];
      EXPECT_NEAR(std::atan2(sine, cosine) / want, 1.0, 2e-6) << c["rope_type"] << " pair " << i;
      EXPECT_NEAR(std::hypot(sine, cosine), attention, 1e-6) << c["rope_type"] << " pair " << i;
    }
  }
}

TEST(RopeScaling, AFactorWithoutATypeIsLinear) {
  EXPECT_EQ(config_with([](auto& file) { file.add("llama.rope.scaling.factor", 4.0f); }).ropes.at(0).params.frequency_scale,
            0.25f);
  EXPECT_EQ(config_with([](auto& file) { file.add("llama.rope.scale_linear", 8.0f); }).ropes.at(0).params.frequency_scale,
            0.125f);
  EXPECT_EQ(config_with([](auto& file) { file.add("llama.rope.scaling.factor", 0.0f); }).ropes.at(0).params.frequency_scale,
            1.0f);
  EXPECT_EQ(config_with([](auto&) {}).ropes.at(0).params.frequency_scale, 1.0f);
  const auto none = [](auto& file) {
    file.add("llama.rope.scaling.type", "none");
    file.add("llama.rope.scaling.factor", 4.0f);
  };
  EXPECT_EQ(config_with(none).ropes.at(0).params.frequency_scale, 1.0f);
}

// transformers' attention_factor, which converters write as yarn_attn_factor, stands for 1 + 0.1 ln(factor); attn_factor multiplies.
TEST(RopeScaling, MagnitudesHaveTwoNames) {
  struct Case {
    const char* type;
    float yarn, other, expected;
  };
  for (const Case& c :
       {Case{"yarn", 0.0f, 0.0f, 1.1386294f}, Case{"yarn", 1.0f, 1.0f, 1.1386294f}, Case{"yarn", 1.25f, 0.0f, 1.25f},
        Case{"yarn", 0.0f, 0.5f, 0.5693147f}, Case{"yarn", 1.25f, 0.5f, 0.625f}, Case{"linear", 0.0f, 0.5f, 0.5f},
        Case{"none", 0.0f, 2.0f, 2.0f}}) {
    const RopeParams rope = config_with([&](auto& file) {
                              file.add("llama.rope.scaling.type", c.type);
                              file.add("llama.rope.scaling.factor", 4.0f);
                              if (c.yarn > 0) file.add("llama.rope.scaling.yarn_attn_factor", c.yarn);
                              if (c.other > 0) file.add("llama.rope.scaling.attn_factor", c.other);
                            })
                                .ropes.at(0)
                                .params;
    EXPECT_FLOAT_EQ(rope.mscale, c.expected) << c.type << " " << c.yarn << " " << c.other;
  }
}

TEST(RopeScaling, OtherSpellingsOfYarnsBounds) {
  const auto bounds = [](const std::string& prefix) {
    const RopeParams rope = config_with([&](auto& file) {
                              file.add("llama.rope.scaling.type", "yarn");
                              file.add("llama.rope.scaling.factor", 4.0f);
                              file.add("llama.rope.scaling." + prefix + "beta_fast", 16.0f);
                              file.add("llama.rope.scaling." + prefix + "beta_slow", 2.0f);
                            })
                                .ropes.at(0)
                                .params;
    return std::pair(rope.yarn_low, rope.yarn_high);
  };
  EXPECT_EQ(bounds("yarn_"), bounds(""));
}

TEST(RopeScaling, FactorsComeAsATensor) {
  const auto with_factors = [](float factor) {
    return [factor](test::GgufWriter& file) {
      file.add("llama.rope.scaling.type", "llama3");
      const std::vector<float> factors(32, factor);
      const auto* bytes = reinterpret_cast<const std::byte*>(factors.data());
      file.add_tensor("rope_freqs.weight", 0, {32}, {bytes, bytes + 32 * sizeof(float)});
    };
  };
  EXPECT_EQ(config_with(with_factors(4.0f)).ropes.at(0).factors, std::vector<float>(32, 4.0f));
  for (const float bad : {0.0f, -1.0f, NAN})
    EXPECT_THAT(error_with(with_factors(bad)), testing::ContainsRegex("rope_freqs.weight\"? holds"));
}

TEST(RopeScaling, WhatCannotBeDoneIsAnError) {
  const auto type = [](const char* name) { return [name](auto& file) { file.add("llama.rope.scaling.type", name); }; };
  EXPECT_THAT(error_with(type("llama3")), testing::HasSubstr("rope_freqs.weight with its factors is missing"));
  EXPECT_THAT(error_with(type("longrope")), testing::HasSubstr("not one of none, linear, yarn, llama3"));
  for (const float factor : {-1.0f, 1e-6f, 1e9f, NAN})
    EXPECT_THAT(error_with([&](auto& file) { file.add("llama.rope.scaling.factor", factor); }), testing::HasSubstr("factor"))
        << factor;
}

}  // namespace
}  // namespace warploom
