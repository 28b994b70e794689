#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/score.h"

namespace warploom {
namespace {

using testing::HasSubstr;

class Options : public testing::Test {
 protected:
  Options() : file_(test::tiny_model()), model(Model::load(file_.path())) {}

  template <typename Change>
  std::string refusal(const Change& change, std::vector<TokenId> prompt = {1, 2, 3}) {
    test::Options options;
    options.max_tokens = 2;
    change(options);
    const std::vector<std::vector<TokenId>> prompts = {std::move(prompt)};
    try {
      test::generate(model, prompts, options);
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "";
  }

  test::TemporaryModel file_;
  std::shared_ptr<const Model> model;
};

TEST_F(Options, NamesWhatIsOutOfRange) {
  EXPECT_EQ(refusal([](auto&) {}), "");
  EXPECT_THAT(refusal([](auto& o) { o.n = 0; }), HasSubstr("n is 0"));
  EXPECT_THAT(refusal([](auto& o) { o.max_num_batched_tokens = -1; }), HasSubstr("max_num_batched_tokens is -1"));
  EXPECT_THAT(refusal([](auto& o) { o.kv_cache_tokens = -1; }), HasSubstr("kv_cache_tokens is -1"));
  EXPECT_THAT(refusal([](auto& o) { o.kv_cache_share = 1.5; }), HasSubstr("kv_cache_share is 1.5"));
  EXPECT_THAT(refusal([](auto& o) { o.round_attention = true; }), HasSubstr("round_attention is true"));
  EXPECT_THAT(refusal([](auto& o) { o.max_num_seqs = 0; }), HasSubstr("max_num_seqs is 0"));
  EXPECT_THAT(refusal([](auto& o) { o.max_num_seqs = 5000; }), HasSubstr("max_num_seqs is 5000"));
  EXPECT_THAT(refusal([](auto& o) { o.block_size = 12; }), HasSubstr("12"));
  EXPECT_THAT(refusal([](auto& o) { o.block_size = 0; }), HasSubstr("0"));
  EXPECT_THAT(refusal([](auto& o) { o.stop = {"x", ""}; }), HasSubstr("stop string 1"));
  EXPECT_THAT(refusal([](auto& o) { o.stop_token_ids = {100000}; }), HasSubstr("stop_token_ids"));
  EXPECT_THAT(refusal([](auto& o) { o.logit_bias = {{-1, 0.0f}}; }), HasSubstr("logit_bias"));
  EXPECT_THAT(refusal([](auto& o) { o.logit_bias = {{3, NAN}}; }), HasSubstr("the bias of token 3 is nan"));
  EXPECT_THAT(refusal([](auto& o) { o.logit_bias = {{3, INFINITY}}; }), HasSubstr("the bias of token 3 is inf"));
  EXPECT_THAT(refusal([](auto& o) { o.sampling.temperature = -1.0f; }), HasSubstr("temperature"));
  EXPECT_THAT(refusal([](auto& o) { o.sampling.top_p = 0.0f; }), HasSubstr("top_p"));
  EXPECT_THAT(refusal([](auto& o) { o.sampling.top_k = -1; }), HasSubstr("top_k"));
}

TEST_F(Options, RefusesPromptsThatCannotRun) {
  const auto nothing = [](auto&) {};
  EXPECT_THAT(refusal(nothing, {}), HasSubstr("empty"));
  EXPECT_THAT(refusal(nothing, {1, 262}), HasSubstr("token 262"));
  EXPECT_THAT(refusal(nothing, {-1}), HasSubstr("token -1"));
  EXPECT_THAT(refusal(nothing, std::vector<TokenId>(257, 1)), HasSubstr("257 tokens"));
  EXPECT_THROW(generate(nullptr, std::span<const Request>()), InvalidArgument);
  EXPECT_THROW(Generator(nullptr), InvalidArgument);
  const std::vector<TokenId> one = {1};
  EXPECT_THROW(score(model, one), InvalidArgument);
  const std::vector<TokenId> two = {1, 2};
  EXPECT_THROW(score(model, two, {.block_size = 0}), InvalidArgument);
  EXPECT_THROW(score(model, two, {.window = 1}), InvalidArgument);
}

TEST_F(Options, AFullContextEndsTheSequence) {
  const std::vector<std::vector<TokenId>> prompts = {std::vector<TokenId>(250, 1)};
  test::Options options;
  options.max_tokens = 100;
  options.ignore_eos = true;
  const test::Result g = test::generate(model, prompts, options).at(0);
  EXPECT_EQ(g.finish_reason, FinishReason::context_full);
  EXPECT_EQ(g.token_ids.size(), 6u);
}

}  // namespace
}  // namespace warploom
