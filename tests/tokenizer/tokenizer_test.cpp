#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tokenizer/gguf_in_memory.h"
#include "tokenizer/pretokenize.h"

namespace warploom {
namespace {

using testing::ElementsAre;

std::shared_ptr<const Tokenizer> load_model() {
  return Tokenizer::load(WARPLOOM_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
}

TEST(Tokenizer, RolesOfTokens) {
  const auto tokenizer = load_model();
  EXPECT_EQ(tokenizer->vocab_size(), 49152u);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  std::vector<std::string_view> special, ends;
  for (TokenId id = 0; id < 49152; ++id) {
    if (tokenizer->is_special(id)) special.push_back(tokenizer->piece(id));
    if (tokenizer->is_eog(id)) ends.push_back(tokenizer->piece(id));
  }
  EXPECT_EQ(special.size(), 17u);
  EXPECT_THAT(ends, ElementsAre("<|endoftext|>", "<|im_end|>"));
}

TEST(Tokenizer, SpecialTokensByChoice) {
  const auto tokenizer = load_model();
  const std::string text = "a<|im_end|>b";
  const auto parsed = tokenizer->encode(text, {.parse_special = true});
  EXPECT_THAT(parsed, testing::Contains(2));
  EXPECT_EQ(tokenizer->decode(parsed), "ab");
  EXPECT_EQ(tokenizer->decode(parsed, true), text);
  const auto plain = tokenizer->encode(text, {.parse_special = false});
  EXPECT_THAT(plain, testing::Not(testing::Contains(2)));
  EXPECT_EQ(tokenizer->decode(plain), text);
}

// SmolLM2's vocabulary has no token for 21 bytes. Those that cannot be in valid text are not lost without a trace.
TEST(Tokenizer, BytesWithoutAToken) {
  const auto tokenizer = load_model();
  const auto after = [&](std::string_view text) { return tokenizer->decode(tokenizer->encode(text)); };
  EXPECT_EQ(after("a\x04z"), "az");
  EXPECT_EQ(after("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(after("a\x80z"), "a\x80z");
}

TEST(Tokenizer, SentencePiece) {
  const auto tokenizer = load_tokenizer(small_sentencepiece());
  const EncodeOptions plain{.add_special = false};
  EXPECT_THAT(tokenizer->encode("a", plain), ElementsAre(7));
  EXPECT_THAT(tokenizer->encode("aAb a", plain), ElementsAre(7, 3, 5, 7));
  EXPECT_THAT(tokenizer->encode("ac", plain), ElementsAre(7, 0));  // no token for c or its byte
  EXPECT_THAT(tokenizer->encode("a"), ElementsAre(1, 7));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre(1));
  EXPECT_THAT(tokenizer->encode("<s>a</s>b", plain), ElementsAre(1, 7, 2, 6, 5));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 7, 2, 6, 5}, true), "<s>a</s>b");
}

TEST(Tokenizer, EmptyTextAndLongText) {
  const auto tokenizer = load_model();
  EXPECT_TRUE(tokenizer->encode("").empty());
  EXPECT_EQ(tokenizer->decode({}), "");
}

// Twice the length may take twice the time and somewhat more, not four times: long words without a space among them.
TEST(Tokenizer, LongRunsAreNotQuadratic) {
  const auto models = {load_model(), Tokenizer::load(WARPLOOM_TEST_DATA "/tokenizations/llama-bpe.gguf"),
                       Tokenizer::load(WARPLOOM_TEST_DATA "/tokenizations/spm.gguf")};
  for (const auto& tokenizer : models) {
    for (const std::string unit : {"a", " ", "\n", "7", "!", "ab", " \n", "\u4F60", "\xFF", "<|im_start|", "'s"}) {
      const auto seconds = [&](std::size_t bytes) {
        std::string text;
        while (text.size() < bytes) text += unit;
        text += "x";
        const auto begin = std::chrono::steady_clock::now();
        const auto ids = tokenizer->encode(text, {.add_special = false});
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        EXPECT_FALSE(ids.empty());
        return took.count();
      };
      // Quadratic work on 2^18 bytes would be 10^10 steps and more.
      EXPECT_LT(seconds(1 << 18), 5.0) << testing::PrintToString(unit);
    }
  }
}

TEST(PreTokenizer, Words) {
  const auto words = [](std::string_view name, std::string_view text) {
    const PreTokenizer pretokenizer(*find_pretokenizer(name));
    Words walk(pretokenizer, text);
    std::vector<std::string> result;
    for (auto word = walk.next(); !word.empty(); word = walk.next()) result.emplace_back(word);
    return result;
  };
  const std::string_view text = "I'LL pay  $1234 in 25's\n\n x";
  EXPECT_THAT(words("gpt-2", text),
              ElementsAre("I", "'", "LL", " pay", " ", " $", "1234", " in", " 25", "'s", "\n\n", " x"));
  EXPECT_THAT(words("smollm", text),
              ElementsAre("I", "'", "LL", " pay", " ", " $", "1", "2", "3", "4", " in", " ", "2", "5", "'s", "\n\n", " x"));
  EXPECT_THAT(words("llama-bpe", text),
              ElementsAre("I", "'LL", " pay", " ", " $", "123", "4", " in", " ", "25", "'s", "\n\n", " x"));
  EXPECT_THAT(words("qwen2", text),
              ElementsAre("I", "'LL", " pay", " ", " $", "1", "2", "3", "4", " in", " ", "2", "5", "'s", "\n\n", " x"));
  EXPECT_THAT(words("gpt-2", "a\xFF\xFE z\xE2\x82"), ElementsAre("a", "\xFF\xFE", " z", "\xE2\x82"));
  EXPECT_THAT(words("gpt-2", "a\u180E b"), ElementsAre("a", "\u180E", " b"));  // no white space since Unicode 6.3
  EXPECT_EQ(find_pretokenizer("no such"), nullptr);
}

// PCRE2 counts every step back over white space, and gives up after 10 million where it is not told otherwise.
TEST(PreTokenizer, LongWhiteSpace) {
  const std::string text = std::string(12'000'000, ' ') + "x";
  for (const std::string_view name : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    const PreTokenizer pretokenizer(*find_pretokenizer(name));
    Words walk(pretokenizer, text);
    EXPECT_EQ(walk.next().size(), text.size() - 2) << name;
    EXPECT_EQ(walk.next(), " x");
    EXPECT_EQ(walk.next(), "");
  }
}

}  // namespace
}  // namespace warploom
