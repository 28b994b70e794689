#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
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
  const auto got = test::run_warploom({"score", "-f", test::TemporaryFile(kText).path(), "-m", model_path()});
  EXPECT_EQ(got.status, 0) << got.err;
  for (const char* word : {"tokens", "negative log-likelihood", "perplexity"})
    EXPECT_THAT(got.out, testing::HasSubstr(word));
}

TEST(ScoreCommand, OneTokenIsTooFew) {
  const auto got = test::run_warploom({"score", "-f", "-", "-m", model_path()}, "a");
  EXPECT_EQ(got.status, 1);
  EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]+\n"));
}

}  // namespace
}  // namespace warploom
