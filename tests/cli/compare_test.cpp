#include <numeric>
#include <sstream>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/printable.h"
#include "cli/process.h"
#include "cli/text_statistics.h"
#include "warploom/generator.h"

namespace warploom {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(CompareCommand, PrintsTheLibrarysFiguresOfEveryStrategy) {
  const std::pair<const char*, SamplingParams> strategies[] = {{"greedy", {.temperature = 0.0f}},
                                                               {"temperature 0.7", {.temperature = 0.7f}},
                                                               {"top-k 50", {.top_k = 50}},
                                                               {"top-p 0.9", {.top_p = 0.9f}},
                                                               {"top-k 50 + top-p 0.9", {.top_k = 50, .top_p = 0.9f}},
                                                               {"temperature 0.2", {.temperature = 0.2f}},
                                                               {"temperature 0.5", {.temperature = 0.5f}},
                                                               {"temperature 1.0", {.temperature = 1.0f}},
                                                               {"temperature 1.5", {.temperature = 1.5f}},
                                                               {"temperature 2.0", {.temperature = 2.0f}}};
  const auto got =
      test::run_warploom({"compare", "Once upon a time", "--model", test::model_path(), "-n", "8", "--seed", "5"});
  ASSERT_EQ(got.status, 0) << got.err;
  std::istringstream lines(got.out);
  std::string line;
  std::getline(lines, line);
  for (const char* column : {"same?", "dist-1", "dist-2", "rep-4", "log-prob", "tokens/s", "text"})
    EXPECT_THAT(line, HasSubstr(column));
  const auto model = Model::load(test::model_path());
  for (const auto& [name, params] : strategies) {
    Request request;
    request.prompt = "Once upon a time";
    request.max_tokens = 8;
    request.sampling = params;
    request.sampling.seed = 5;
    request.logprobs = true;
    const Completion want = generate(model, request).completions.at(0);
    std::getline(lines, line);
    EXPECT_THAT(line, StartsWith(std::string(name) + " "));
    std::istringstream numbers(line.substr(22));
    std::string same;
    double distinct1 = -1, distinct2 = -1, repeated4 = -1, logprob = 1, speed = -1;
    ASSERT_TRUE(numbers >> same >> distinct1 >> distinct2 >> repeated4 >> logprob >> speed) << line;
    EXPECT_EQ(same, "yes");
    constexpr double kHalfDigit = 0.5e-3 + 1e-9;  // of what is printed
    EXPECT_NEAR(distinct1, cli::distinct(want.token_ids, 1), kHalfDigit) << line;
    EXPECT_NEAR(distinct2, cli::distinct(want.token_ids, 2), kHalfDigit) << line;
    EXPECT_NEAR(repeated4, cli::repeated(want.token_ids, 4), kHalfDigit) << line;
    EXPECT_NEAR(logprob, std::accumulate(want.logprobs.begin(), want.logprobs.end(), 0.0) / 8, kHalfDigit) << line;
    EXPECT_GT(speed, 0) << line;
    EXPECT_THAT(line, EndsWith("  " + cli::printable(want.text, 60)));
  }
}

}  // namespace
}  // namespace warploom
