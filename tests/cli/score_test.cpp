#include <cmath>
#include <cstdio>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "warploom/error.h"
#include "warploom/score.h"

namespace warploom {
namespace {

using test::model_path;
const std::string kText = "The quick brown fox jumps over the lazy dog.\nPack my box with five dozen liquor jugs.\n";

TEST(ScoreCommand, GivesTheLibrarysFigures) {
  const auto model = Model::load(model_path());
  const auto ids = model->tokenizer()->encode(kText);
  for (const int window : {0, 8}) {
    const Score want = score(model, ids, {.window = window});
    const auto got =
        test::run_warploom({"score", "-f", "-", "-m", model_path(), "--json", "--window", std::to_string(window)}, kText);
    ASSERT_EQ(got.status, 0) << got.err;
    const auto json = nlohmann::json::parse(got.out);
    EXPECT_EQ(json["tokens"], ids.size());
    EXPECT_EQ(json["scored"], want.logprobs.size());
    EXPECT_DOUBLE_EQ(json["mean_nll"].get<double>(), want.mean_nll);
    EXPECT_DOUBLE_EQ(json["perplexity"].get<double>(), std::exp(want.mean_nll));
  }
}

TEST(ScoreCommand, ReadsAFileAndPrintsText) {
  const auto model = Model::load(model_path());
  const auto ids = model->tokenizer()->encode(kText);
  const Score want = score(model, ids);
  const auto got = test::run_warploom({"score", "-f", test::TemporaryFile(kText).path(), "-m", model_path()});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.err, "");
  int tokens = 0, scored = 0, length = 0;
  double nll = 0, perplexity = 0;
  ASSERT_EQ(std::sscanf(got.out.c_str(), "tokens %d, scored %d\nnegative log-likelihood %lf a token\nperplexity %lf\n%n",
                        &tokens, &scored, &nll, &perplexity, &length),
            4)
      << got.out;
  EXPECT_EQ(length, static_cast<int>(got.out.size())) << got.out;
  EXPECT_EQ(tokens, static_cast<int>(ids.size()));
  EXPECT_EQ(scored, static_cast<int>(want.logprobs.size()));
  EXPECT_NEAR(nll, want.mean_nll, 0.5e-6 + 1e-12);  // half of the last digit that is printed
  EXPECT_NEAR(perplexity, std::exp(want.mean_nll), 0.5e-4 + 1e-9);
}

// Each token of the text given those before it in its window, and the token that every window begins with.
TEST(ScoreCommand, ATokenBeforeEachWindow) {
  const auto model = Model::load(model_path());
  const TokenId bos = model->tokenizer()->bos();
  const auto ids = model->tokenizer()->encode(kText);
  for (const std::int64_t window : {0, 8, 2}) {
    const Score got = score(model, ids, {.window = window, .bos = bos});
    ASSERT_EQ(got.logprobs.size(), ids.size());
    const std::size_t step = window == 0 ? ids.size() : static_cast<std::size_t>(window - 1);
    std::vector<double> want;
    for (std::size_t start = 0; start < ids.size(); start += step) {
      std::vector<TokenId> tokens = {bos};
      for (std::size_t i = start; i < std::min(start + step, ids.size()); ++i) tokens.push_back(ids[i]);
      const Score one = score(model, tokens);
      want.insert(want.end(), one.logprobs.begin(), one.logprobs.end());
    }
    EXPECT_EQ(got.logprobs, want) << window;
    const auto command = test::run_warploom(
        {"score", "-f", "-", "-m", model_path(), "--json", "--bos", "--window", std::to_string(window)}, kText);
    ASSERT_EQ(command.status, 0) << command.err;
    const auto json = nlohmann::json::parse(command.out);
    EXPECT_EQ(json["scored"], ids.size());
    EXPECT_DOUBLE_EQ(json["mean_nll"].get<double>(), got.mean_nll);
  }
  EXPECT_EQ(score(model, {ids.data(), 1}, {.bos = bos}).logprobs.size(), 1u);
  EXPECT_THROW(static_cast<void>(score(model, {}, {.bos = bos})), InvalidArgument);
  for (const TokenId outside : {-2, 49152})
    EXPECT_THROW(static_cast<void>(score(model, ids, {.bos = outside})), InvalidArgument);
}

TEST(ScoreCommand, OneTokenIsTooFew) {
  const auto got = test::run_warploom({"score", "-f", "-", "-m", model_path()}, "a");
  EXPECT_EQ(got.status, 1);
  EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]+\n"));
}

}  // namespace
}  // namespace warploom
