// A file's tokenizer that cannot be right is refused with an error that names what is wrong.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "tokenizer/bpe.h"
#include "tokenizer/gguf_in_memory.h"
#include "tokenizer/tokenizer.h"

namespace warploom {
namespace {

using Strings = std::vector<std::string_view>;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<double>;

struct Damage {
  std::string name;
  bool sentencepiece;
  std::function<void(GgufInMemory&)> apply;
  std::string message;  // a part of the error's text
};

const std::vector<Damage>& damages() {
  const auto set = [](const std::string& key, const GgufValue& value) {
    return [=](GgufInMemory& file) { file.values["tokenizer.ggml." + key] = value; };
  };
  const auto drop = [](const std::string& key) {
    return [=](GgufInMemory& file) { file.values.erase("tokenizer.ggml." + key); };
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  static const std::vector<Damage> all = {
      {"no_model", false, drop("model"), "tokenizer.ggml.model"},
      {"unknown_model", false, set("model", std::string_view("bert")), "'bert'"},
      {"model_is_a_number", false, set("model", std::int64_t{3}), "tokenizer.ggml.model"},
      {"no_tokens", false, drop("tokens"), "tokenizer.ggml.tokens is missing"},
      {"empty_tokens", false, set("tokens", GgufArray(Strings{})), "0 entries"},
      {"tokens_are_numbers", false, set("tokens", GgufArray(Ints{1, 2})), "tokenizer.ggml.tokens"},
      {"repeated_token", false, set("tokens", GgufArray(Strings{"a", "b", "c", "Ġ", "ab", "abc", "a", "d"})),
       "tokens[6] repeats entry 0: 'a'"},
      {"too_few_kinds", false, set("token_type", GgufArray(Ints{1, 1})), "token_type has 2 entries for 8 tokens"},
      {"kind_out_of_range", false, set("token_type", GgufArray(Ints{1, 1, 1, 1, 1, 1, 1, 7})), "token_type[7] is 7"},
      {"kind_negative", false, set("token_type", GgufArray(Ints{-1, 1, 1, 1, 1, 1, 1, 1})), "token_type[0] is -1"},
      {"kinds_are_strings", false, set("token_type", GgufArray(Strings{"a"})), "token_type is not an array of integers"},
      {"kinds_are_one_number", false, set("token_type", std::int64_t{1}), "token_type is not an array of integers"},
      {"no_pre", false, drop("pre"), "tokenizer.ggml.pre is missing"},
      {"unknown_pre", false, set("pre", std::string_view("deepseek-v3")), "'deepseek-v3'"},
      {"no_merges", false, drop("merges"), "tokenizer.ggml.merges is missing"},
      {"merge_of_one", false, set("merges", GgufArray(Strings{"a b", "abc"})), "merges[1] is 'abc'"},
      {"merge_of_three", false, set("merges", GgufArray(Strings{"a b c"})), "merges[0] is 'a b c'"},
      {"merge_with_nothing_left", false, set("merges", GgufArray(Strings{" b"})), "merges[0] is ' b'"},
      {"merge_with_nothing_right", false, set("merges", GgufArray(Strings{"a "})), "merges[0] is 'a '"},
      {"empty_merge", false, set("merges", GgufArray(Strings{""})), "merges[0] is ''"},
      {"merge_of_unknown_token", false, set("merges", GgufArray(Strings{"a x"})), "needs the token 'x'"},
      {"merge_into_unknown_token", false, set("merges", GgufArray(Strings{"b a"})), "needs the token 'ba'"},
      {"bos_out_of_range", false, set("bos_token_id", std::int64_t{8}), "bos_token_id is 8, outside the vocabulary of 8"},
      {"bos_negative", false, set("bos_token_id", std::int64_t{-2}), "bos_token_id is -2"},
      {"eos_huge", false, set("eos_token_id", std::int64_t{1} << 40), "eos_token_id is 1099511627776"},
      {"eot_out_of_range", false, set("eot_token_id", std::int64_t{99}), "eot_token_id is 99"},
      {"eom_out_of_range", false, set("eom_token_id", std::int64_t{99}), "eom_token_id is 99"},
      {"add_bos_without_bos", false, set("add_bos_token", true), "add_bos_token is true"},
      {"add_eos_without_eos", false, set("add_eos_token", true), "add_eos_token is true"},
      {"add_bos_is_a_string", false, set("add_bos_token", std::string_view("yes")), "add_bos_token"},
      {"no_scores", true, drop("scores"), "tokenizer.ggml.scores is missing"},
      {"too_few_scores", true, set("scores", GgufArray(Floats{1, 2})), "scores has 2 entries for 8 tokens"},
      {"nan_score", true, set("scores", GgufArray(Floats{0, 0, 0, nan, 0, 0, 0, 0})), "scores[3] is nan"},
      {"infinite_score", true, set("scores", GgufArray(Floats{0, 0, 0, 0, 0, 0, 0, -infinity})), "scores[7] is -inf"},
      {"score_beyond_float", true, set("scores", GgufArray(Floats{0, 0, 0, 0, 0, 0, 0, 1e300})), "scores[7] is 1e+300"},
      {"scores_are_strings", true, set("scores", GgufArray(Strings{"1"})), "scores is not an array"},
      {"bad_byte_token", true, set("tokens", GgufArray(Strings{"<unk>", "<s>", "</s>", "<0x4G>", "a", "b", "▁", "▁a"})),
       "'<0x4G>'"},
      {"byte_token_of_another_form", true,
       set("tokens", GgufArray(Strings{"<unk>", "<s>", "</s>", "A", "a", "b", "▁", "▁a"})), "token 3"},
      {"neither_bytes_nor_unknown", true, drop("unknown_token_id"), "neither a token for every byte nor an unknown token"},
  };
  return all;
}

class MalformedTokenizer : public testing::TestWithParam<Damage> {};

TEST_P(MalformedTokenizer, IsRefused) {
  const auto file = GetParam().sentencepiece ? small_sentencepiece() : small_bpe();
  ASSERT_NO_THROW(load_tokenizer(file));
  GetParam().apply(*file);
  try {
    load_tokenizer(file);
    FAIL() << "no error";
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(Damages, MalformedTokenizer, testing::ValuesIn(damages()),
                         [](const auto& one) { return one.param.name; });

TEST(MalformedTokenizer, IdsOutsideTheVocabulary) {
  const auto tokenizer = load_tokenizer(small_bpe());
  for (const TokenId id : {-1, 8, INT32_MAX, INT32_MIN}) {
    EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{0, id}), InvalidArgument);
    EXPECT_THROW(tokenizer->piece(id), InvalidArgument);
    EXPECT_THROW(tokenizer->is_special(id), InvalidArgument);
    EXPECT_THROW(tokenizer->is_eog(id), InvalidArgument);
    EXPECT_THROW(StreamDecoder(tokenizer).push(id), InvalidArgument);
  }
}

// Odd, but no reason to refuse a file.
TEST(MalformedTokenizer, EmptyAndOddTokensAreHarmless) {
  const auto file = small_bpe();
  file->values["tokenizer.ggml.tokens"] =
      GgufArray(Strings{"a", "b", "c", "Ġ", "ab", "abc", "", "\xFF\x80 not of the byte alphabet"});
  file->values["tokenizer.ggml.merges"] = GgufArray(Strings{"a b", "ab c", "a b"});
  const auto tokenizer = load_tokenizer(file);
  EXPECT_THAT(tokenizer->encode("abc ab"), testing::ElementsAre(5, 3, 4));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{6, 7}, true), "\xFF\x80 not of the byte alphabet");
}

// Seconds where the time grows with the length; it would be hours if with its square.
TEST(MalformedTokenizer, LongTokensTakeNoLongerThanTheirLength) {
  std::string marks;
  for (int i = 0; i < 4'000'000; ++i) marks += "▁";
  const auto file = small_sentencepiece();
  file->values["tokenizer.ggml.tokens"] = GgufArray(Strings{"<unk>", "<s>", "</s>", "<0x41>", "a", "b", "▁", marks});
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = load_tokenizer(file);
  EXPECT_EQ(tokenizer->piece(7), std::string(4'000'000, ' '));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

// Every byte's token, spelled as `sentencepiece` or byte-level vocabularies do.
std::vector<std::string> byte_spellings(bool sentencepiece) {
  std::vector<std::string> spellings;
  const auto alphabet = byte_alphabet();
  for (int b = 0; b < 256; ++b) {
    const char32_t c = alphabet[b];
    const std::string utf8 = c < 0x80 ? std::string(1, static_cast<char>(c))
                                      : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    spellings.push_back(sentencepiece ? fmt::format("<0x{:02X}>", b) : utf8);
  }
  return spellings;
}

// Whatever else is in a vocabulary that has every byte: an error, or a tokenizer that gives back every text.
TEST(MalformedTokenizer, RandomVocabularies) {
  const std::uint32_t seed = 20240611;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t n) { return random() % n; };
  const auto word = [&] {
    constexpr std::string_view kParts[] = {"a", "b", "▁", "Ġ", "Ċ", "é", " ", "\n", "<0x41>", "<s>", "\xFF", "\xE2"};
    std::string text;
    for (std::size_t n = pick(4); n > 0; --n) text += kParts[pick(std::size(kParts))];
    return text;
  };
  int loaded = 0;
  for (int round = 0; round < 2000; ++round) {
    const bool sentencepiece = round % 2 == 1;
    std::vector<std::string> tokens = byte_spellings(sentencepiece);
    for (std::size_t n = pick(20); n > 0; --n) {
      if (const std::string token = word(); std::ranges::count(tokens, token) == 0) tokens.push_back(token);
    }
    std::vector<std::string> merges;
    for (std::size_t n = pick(3); n > 0; --n) {
      const std::string left = tokens[pick(tokens.size())], right = tokens[pick(tokens.size())];
      merges.push_back(left + " " + right);
      if (std::ranges::count(tokens, left + right) == 0) tokens.push_back(left + right);
    }
    Ints kinds(256, sentencepiece ? 6 : 1);
    while (kinds.size() < tokens.size()) kinds.push_back(static_cast<std::int64_t>(pick(8) == 0 ? 2 + pick(5) : 1));
    Floats scores;
    while (scores.size() < tokens.size()) scores.push_back(static_cast<double>(pick(3)));
    const auto file = sentencepiece ? small_sentencepiece() : small_bpe();
    file->values["tokenizer.ggml.tokens"] = GgufArray(Strings(tokens.begin(), tokens.end()));
    file->values["tokenizer.ggml.token_type"] = GgufArray(kinds);
    file->values["tokenizer.ggml.merges"] = GgufArray(Strings(merges.begin(), merges.end()));
    file->values["tokenizer.ggml.scores"] = GgufArray(scores);
    std::shared_ptr<const Tokenizer> tokenizer;
    try {
      tokenizer = load_tokenizer(file);
    } catch (const ModelError&) {
      continue;
    }
    ++loaded;
    for (int i = 0; i < 10; ++i) {
      const std::string text = word() + word() + word();
      const auto ids = tokenizer->encode(text, {.add_special = false, .parse_special = pick(2) == 0});
      ASSERT_EQ(tokenizer->decode(ids, true), text) << testing::PrintToString(text) << " in round " << round;
    }
  }
  EXPECT_GT(loaded, 1000);
}

}  // namespace
}  // namespace warploom
