#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "warploom/tokenizer.h"

namespace warploom {
namespace {

using test::run_warploom;

// A tokenizer without weights: all that these commands read.
const std::string kModel = std::string(WARPLOOM_TEST_DATA) + "/tokenizations/gpt-2.gguf";

std::vector<std::string> hard_texts() {
  return {"Hello world", "a\n\n b\t", "  ", "naïve 北京 🙂", std::string("nul\0inside", 10), "\xff\xfe broken \xe2\x82",
          "-",           "--json"};
}

TEST(TokenizeCommand, StandardInputIsTakenByteForByte) {
  const auto tokenizer = Tokenizer::load(kModel);
  for (const std::string& text : hard_texts()) {
    SCOPED_TRACE(text);
    const auto got = run_warploom({"tokenize", "-", "--json", "--model", kModel}, text);
    ASSERT_EQ(got.status, 0) << got.err;
    EXPECT_EQ(got.err, "");
    EXPECT_EQ(nlohmann::json::parse(got.out), (nlohmann::json{{"ids", tokenizer->encode(text)}}));
  }
}

TEST(TokenizeCommand, DetokenizeIsTheReverse) {
  const auto tokenizer = Tokenizer::load(kModel);
  for (const std::string& text : hard_texts()) {
    SCOPED_TRACE(text);
    for (const bool json : {false, true}) {
      std::vector<std::string> arguments = {"tokenize", "-", "--model", kModel};
      if (json) arguments.push_back("--json");
      const auto ids = run_warploom(arguments, text);
      const auto back = run_warploom({"detokenize", "-", "--model", kModel}, ids.out);
      ASSERT_EQ(back.status, 0) << back.err;
      EXPECT_EQ(back.out, tokenizer->decode(tokenizer->encode(text)));
    }
  }
}

TEST(TokenizeCommand, TextAndIdsMayBeArguments) {
  const auto tokenizer = Tokenizer::load(kModel);
  const auto got = run_warploom({"tokenize", "Hello world", "--json", "-m", kModel});
  EXPECT_EQ(nlohmann::json::parse(got.out)["ids"].get<std::vector<TokenId>>(), tokenizer->encode("Hello world"));
  EXPECT_EQ(run_warploom({"detokenize", got.out, "-m", kModel}).out, "Hello world");
  std::vector<std::string> one_by_one = {"detokenize", "-m", kModel};
  for (const TokenId id : tokenizer->encode("Hello world")) one_by_one.push_back(std::to_string(id));
  EXPECT_EQ(run_warploom(one_by_one).out, "Hello world");
  EXPECT_EQ(run_warploom({"detokenize", nlohmann::json(tokenizer->encode("Hello world")).dump(), "-m", kModel}).out,
            "Hello world");
}

TEST(TokenizeCommand, DetokenizeRefusesWhatIsNoIdOfTheVocabulary) {
  for (const char* ids :
       {"1 99999999", "-5", "abc", "1 2x", "99999999999999999999", "{\"ids\": [1.5]}", "{\"ids\": [\"a\"]}", "{\"ids\": 1}",
        "{\"ids\": [-1099511627776]}", "[4294967297]", "[[1]]", "[1", "1]", "[[[["}) {
    const auto got = run_warploom({"detokenize", "-", "-m", kModel}, ids);
    EXPECT_EQ(got.status, 1) << ids;
    EXPECT_EQ(got.out, "") << ids;
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]*\n")) << ids;
  }
}

}  // namespace
}  // namespace warploom
