#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

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
  EXPECT_THAT(ends, ElementsAre("<|endoftext|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>"));
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

// small_bpe() with other last tokens, of one kind.
std::shared_ptr<GgufInMemory> bpe_with(std::vector<std::string_view> last, TokenKind kind) {
  auto file = small_bpe();
  std::vector<std::string_view> tokens = {"a", "b", "c", "Ġ", "ab", "abc"};
  std::vector<std::int64_t> kinds(tokens.size(), 1);
  tokens.insert(tokens.end(), last.begin(), last.end());
  kinds.resize(tokens.size(), static_cast<std::int64_t>(kind));
  file->values["tokenizer.ggml.tokens"] = GgufArray(tokens);
  file->values["tokenizer.ggml.token_type"] = GgufArray(kinds);
  return file;
}

// A prompt is to be continued.
TEST(Tokenizer, AnEndOfSequenceTokenIsAddedByChoiceAlone) {
  const auto file = small_bpe();
  file->values["tokenizer.ggml.bos_token_id"] = std::int64_t{6};
  file->values["tokenizer.ggml.eos_token_id"] = std::int64_t{7};
  file->values["tokenizer.ggml.add_bos_token"] = true;
  file->values["tokenizer.ggml.add_eos_token"] = true;
  const auto tokenizer = load_tokenizer(file);
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(6, 4));
  EXPECT_THAT(tokenizer->encode("ab", {.add_eos = true}), ElementsAre(6, 4, 7));
  EXPECT_THAT(tokenizer->encode("ab", {.add_special = false, .add_eos = true}), ElementsAre(4, 7));
  file->values["tokenizer.ggml.add_eos_token"] = false;
  EXPECT_THAT(load_tokenizer(file)->encode("ab", {.add_eos = true}), ElementsAre(6, 4));
}

// The file gives the role by number, and calls the token text.
TEST(Tokenizer, RolesCountMoreThanKinds) {
  for (const TokenKind kind : {TokenKind::normal, TokenKind::user_defined, TokenKind::unused}) {
    const auto file = bpe_with({"<s>", "</s>", "[EOT]", "[PAD]", "<|end|>"}, kind);
    file->values["tokenizer.ggml.bos_token_id"] = std::int64_t{6};
    file->values["tokenizer.ggml.eos_token_id"] = std::int64_t{7};
    file->values["tokenizer.ggml.eot_token_id"] = std::int64_t{8};
    file->values["tokenizer.ggml.padding_token_id"] = std::int64_t{9};
    const auto tokenizer = load_tokenizer(file);
    EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{6, 4, 7, 4, 8, 4, 9, 4, 10}), "abababab") << static_cast<int>(kind);
    EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{6, 4, 7}, true), "<s>ab</s>");
    EXPECT_THAT(tokenizer->eog_token_ids(), ElementsAre(7, 8, 10)) << static_cast<int>(kind);
    EXPECT_THAT(tokenizer->encode("<s>ab</s>"), ElementsAre(6, 4, 7));
  }
  // What is spelled as text is text: some files give such a token for padding.
  const auto file = bpe_with({"!"}, TokenKind::normal);
  file->values["tokenizer.ggml.padding_token_id"] = std::int64_t{6};
  EXPECT_EQ(load_tokenizer(file)->decode(std::vector<TokenId>{4, 6}), "ab!");
  // Nor is HTML special.
  const auto html = load_tokenizer(bpe_with({"</s>"}, TokenKind::normal));
  EXPECT_EQ(html->decode(std::vector<TokenId>{4, 6}), "ab</s>");
  EXPECT_THAT(html->eog_token_ids(), testing::IsEmpty());
}

TEST(Tokenizer, WhatFillsUpTheVocabularyIsNoText) {
  for (const TokenKind kind : {TokenKind::unused, TokenKind::user_defined, TokenKind::normal}) {
    const auto file = bpe_with({"[PAD6]", "x"}, kind);
    const auto tokenizer = load_tokenizer(file);
    EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{4, 6, 7}), "abx");
    EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{4, 6}, true), "ab[PAD6]");
    EXPECT_FALSE(tokenizer->is_special(6));
    EXPECT_THAT(tokenizer->encode("[PAD6]"), testing::Not(testing::Contains(6)));
    StreamDecoder stream(tokenizer);
    EXPECT_EQ(stream.push(6), "");
  }
  // Of another number it is text.
  EXPECT_EQ(load_tokenizer(bpe_with({"[PAD7]"}, TokenKind::normal))->decode(std::vector<TokenId>{6}), "[PAD7]");
}

// Converters write -1 for a token that there is none of, in 32 bits without a sign.
TEST(Tokenizer, NumbersOfTokensThatThereAreNone) {
  for (const std::int64_t none : {std::int64_t{-1}, std::int64_t{4294967295}}) {
    const auto file = bpe_with({}, TokenKind::normal);
    for (const char* role : {"bos", "eos", "eot", "unknown", "padding"})
      file->values[std::string("tokenizer.ggml.") + role + "_token_id"] = none;
    const auto tokenizer = load_tokenizer(file);
    EXPECT_EQ(tokenizer->bos(), -1);
    EXPECT_THAT(tokenizer->eog_token_ids(), testing::IsEmpty());
  }
  const auto file = bpe_with({}, TokenKind::normal);
  file->values["tokenizer.ggml.padding_token_id"] = std::int64_t{4294967294};
  EXPECT_THROW(load_tokenizer(file), ModelError);
}

TEST(Tokenizer, SpecialTokensByTheirSpelling) {
  const auto tokenizer = load_model();
  EXPECT_EQ(tokenizer->special_token("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->special_token("<|im_end"), -1);
  EXPECT_EQ(tokenizer->special_token("<|im_end|><|im_end|>"), -1);
  EXPECT_EQ(tokenizer->special_token(" <|im_end|>"), -1);
  EXPECT_EQ(tokenizer->special_token("the"), -1);
  EXPECT_EQ(tokenizer->special_token(""), -1);
  EXPECT_EQ(load_tokenizer(bpe_with({"<h1>"}, TokenKind::user_defined))->special_token("<h1>"), -1);
}

// Models that fill in what is missing between two parts of a file end it with tokens of their own.
TEST(Tokenizer, FillingInEnds) {
  const std::vector<std::string_view> ends = {"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<EOT>", "<|endoftext|>"};
  const auto tokenizer = load_tokenizer(bpe_with(ends, TokenKind::control));
  for (TokenId id = 6; id < 11; ++id) EXPECT_TRUE(tokenizer->is_eog(id)) << tokenizer->piece(id);
  const auto file = bpe_with({"<X>", "<Y>", "<Z>", "<|fim_prefix|>"}, TokenKind::control);
  file->values["tokenizer.ggml.fim_pad_token_id"] = std::int64_t{6};
  file->values["tokenizer.ggml.fim_rep_token_id"] = std::int64_t{7};
  file->values["tokenizer.ggml.fim_sep_token_id"] = std::int64_t{8};
  EXPECT_THAT(load_tokenizer(file)->eog_token_ids(), ElementsAre(6, 7, 8));
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

// tests/data/make_words.py split them with another engine, by the models' own expressions.
TEST(PreTokenizer, SplitsAsOtherEnginesDo) {
  std::ifstream in(WARPLOOM_TEST_DATA "/words.json");
  const auto json = nlohmann::json::parse(in);
  const auto texts = json["texts"].get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 400u);
  for (const std::string_view name : {"tekken", "default"}) {
    const PreTokenizer pretokenizer(*find_pretokenizer(name));
    const auto want = json[std::string(name)].get<std::vector<std::vector<std::string>>>();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      Words walk(pretokenizer, texts[i]);
      std::vector<std::string> got;
      for (auto word = walk.next(); !word.empty(); word = walk.next()) got.emplace_back(word);
      EXPECT_EQ(got, want[i]) << name << ": " << testing::PrintToString(texts[i]);
    }
  }
}

TEST(PreTokenizer, SomeSplitAsOthersDo) {
  const auto* llama3 = find_pretokenizer("llama-bpe");
  const auto* falcon3 = find_pretokenizer("falcon3");
  const auto* smaug = find_pretokenizer("smaug-bpe");
  const auto* deepseek = find_pretokenizer("deepseek-r1-qwen");
  ASSERT_TRUE(falcon3 && smaug && deepseek);
  EXPECT_EQ(falcon3->pattern, llama3->pattern);
  EXPECT_TRUE(falcon3->whole_words && falcon3->add_bos);
  EXPECT_EQ(smaug->pattern, llama3->pattern);
  EXPECT_FALSE(smaug->whole_words || smaug->add_bos);
  EXPECT_EQ(deepseek->pattern, find_pretokenizer("qwen2")->pattern);
  EXPECT_FALSE(deepseek->whole_words || deepseek->add_bos);
}

// Files of before May 2024 have no name for it.
TEST(PreTokenizer, Llama3sIsKnownByItsVocabulary) {
  const auto file = small_bpe();
  file->values.erase("tokenizer.ggml.pre");
  try {
    (void)load_tokenizer(file);
    FAIL() << "no error";
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("tokenizer.ggml.pre is missing"));
  }
  std::vector<std::string> names(128'002);
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = "x" + std::to_string(i);
  const std::string_view used[] = {"a", "b", "c", "Ġ", "ab", "1", "2", "12", "3", "123"};
  std::ranges::copy(used, names.begin());
  names[128'000] = "<|begin_of_text|>";
  names[128'001] = "<|end_of_text|>";
  std::vector<std::int64_t> kinds(names.size(), 1);
  kinds[128'000] = kinds[128'001] = 3;
  using Strings = std::vector<std::string_view>;
  file->values["tokenizer.ggml.tokens"] = GgufArray(Strings(names.begin(), names.end()));
  file->values["tokenizer.ggml.token_type"] = GgufArray(kinds);
  file->values["tokenizer.ggml.merges"] = GgufArray(Strings{"a b", "1 2"});
  file->values["tokenizer.ggml.bos_token_id"] = std::int64_t{128'000};
  const auto tokenizer = load_tokenizer(file);
  // Numbers of three digits are a word, and words that are tokens need no merges.
  EXPECT_THAT(tokenizer->encode("ab12312"), ElementsAre(128'000, 4, 9, 7));
}

// PCRE2 counts every step back over white space, and gives up after 10 million where it is not told otherwise.
TEST(PreTokenizer, LongWhiteSpace) {
  std::string text;
  text.resize(12'000'000, ' ');
  text += 'x';
  for (const std::string_view name : {"gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "default"}) {
    const PreTokenizer pretokenizer(*find_pretokenizer(name));
    Words walk(pretokenizer, text);
    EXPECT_EQ(walk.next().size(), text.size() - 2) << name;
    EXPECT_EQ(walk.next(), " x");
    EXPECT_EQ(walk.next(), "");
  }
}

}  // namespace
}  // namespace warploom
