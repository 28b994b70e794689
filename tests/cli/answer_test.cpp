#include "cli/answer.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/process.h"
#include "tokenizer/gguf_in_memory.h"

namespace warploom::cli {
namespace {

struct Event {
  TokenId token;
  std::string text;
};

std::string shown(const Tokenizer& tokenizer, const std::vector<Event>& events) {
  AnswerText text(tokenizer);
  std::string out;
  for (const Event& event : events) out += text.next({.token = event.token, .text = event.text});
  return out;
}

Completion completion(std::vector<TokenId> ids, std::string text) {
  Completion completion;
  completion.token_ids = std::move(ids);
  completion.text = std::move(text);
  return completion;
}

// Token 7 is "\u2581a", 4 "a", 6 "\u2581".
TEST(AnswerText, AWordsSpaceIsNotTheAnswers) {
  const auto spm = load_tokenizer(small_sentencepiece());
  EXPECT_EQ(shown(*spm, {{7, " a"}, {7, " a"}}), "a a");
  EXPECT_EQ(shown(*spm, {{7, ""}, {7, ""}, {-1, " a a"}}), "a a");  // withheld for a stop string
  EXPECT_EQ(shown(*spm, {{6, " "}, {7, " a"}}), " a");
  EXPECT_EQ(shown(*spm, {{4, "a"}, {7, " a"}}), "a a");
  EXPECT_EQ(shown(*spm, {{4, ""}, {7, " a"}}), " a");
  EXPECT_EQ(shown(*spm, {}), "");
  EXPECT_EQ(answer_text(*spm, completion({7, 4}, " aa")), "aa");
  EXPECT_EQ(answer_text(*spm, completion({4, 7}, "a a")), "a a");
  EXPECT_EQ(answer_text(*spm, {}), "");

  const auto without_prefix = small_sentencepiece();
  without_prefix->values["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(shown(*load_tokenizer(without_prefix), {{7, " a"}, {7, " a"}}), " a a");
}

TEST(AnswerText, ByteLevelTokensAreShownAsTheyAre) {
  const auto bpe = Tokenizer::load(test::model_path());
  const TokenId the = bpe->encode(" the").at(0);
  EXPECT_EQ(shown(*bpe, {{the, " the"}}), " the");
  EXPECT_EQ(answer_text(*bpe, completion({the}, " the")), " the");
}

}  // namespace
}  // namespace warploom::cli
