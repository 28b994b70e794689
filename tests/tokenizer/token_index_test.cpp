#include "tokenizer/token_index.h"

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <gtest/gtest.h>

#include "core/mix.h"

namespace warploom {
namespace {

TEST(TokenIndex, HoldsNothingBeforeItIsPutIn) {
  EXPECT_EQ(TokenIndex({}).find("a"), -1);
  const std::vector<std::string_view> one = {"a"};
  TokenIndex index(one);
  EXPECT_EQ(index.find("a"), -1);
  EXPECT_EQ(index.insert(0), -1);
  EXPECT_EQ(index.find("a"), 0);
  EXPECT_EQ(index.find(""), -1);
  EXPECT_EQ(index.find("b"), -1);
}

// Lengths below, at and above those of 4 and 8 bytes at which the hash reads differently; few letters, so that many begin and end
// alike; ever again the same spelling.
TEST(TokenIndex, FindsWhatAMapFinds) {
  std::uint64_t state = 1;
  const auto spelling = [&] {
    std::string text;
    for (std::uint64_t left = (state = mix(state)) % 20; left > 0; --left)
      text += static_cast<char>('a' + (state = mix(state)) % 2);
    return text;
  };
  std::vector<std::string> spellings(5000);
  for (std::string& text : spellings) text = spelling();
  const std::vector<std::string_view> tokens(spellings.begin(), spellings.end());
  TokenIndex index(tokens);
  std::unordered_map<std::string_view, TokenId> expected;
  int repeated = 0;
  for (TokenId id = 0; id < 5000; ++id) {
    const auto [at, is_new] = expected.emplace(tokens[static_cast<std::size_t>(id)], id);
    EXPECT_EQ(index.insert(id), is_new ? -1 : at->second);
    repeated += !is_new;
  }
  EXPECT_GT(repeated, 100);
  EXPECT_GT(expected.size(), 1000u);
  int missing = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = spelling();
    const auto found = expected.find(text);
    EXPECT_EQ(index.find(text), found == expected.end() ? -1 : found->second) << text;
    missing += found == expected.end();
  }
  EXPECT_GT(missing, 1000);
}

}  // namespace
}  // namespace warploom
