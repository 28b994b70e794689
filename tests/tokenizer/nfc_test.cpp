#include "tokenizer/nfc.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "warploom/tokenizer.h"

namespace warploom {
namespace {

// src/tokenizer/make_nfc_table.py normalised them with Python's unicodedata.
TEST(Nfc, EqualsPythons) {
  std::ifstream in(WARPLOOM_TEST_DATA "/nfc.json");
  const auto cases = nlohmann::json::parse(in);
  ASSERT_GT(cases.size(), 300u);
  for (const auto& one : cases) {
    const std::string text = one[0], normal = one[1];
    EXPECT_EQ(to_nfc(text), normal) << testing::PrintToString(text);
    EXPECT_EQ(to_nfc(normal), normal);
  }
}

TEST(Nfc, WhatIsNoUtf8StaysAndKeepsApart) {
  EXPECT_EQ(to_nfc(""), "");
  EXPECT_EQ(to_nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(to_nfc("e\xFF\u0301"), "e\xFF\u0301");
  EXPECT_EQ(to_nfc("\xCC"), "\xCC");
  EXPECT_EQ(to_nfc("e\xCC"
                   "e\u0301"),
            "e\xCC\u00E9");
  EXPECT_EQ(to_nfc("\xED\xA0\x80\xF4\x90\x80\x80"), "\xED\xA0\x80\xF4\x90\x80\x80");
  EXPECT_EQ(to_nfc("\u0301\u0301"), "\u0301\u0301");
  EXPECT_EQ(to_nfc(std::string("\0e\u0301\0", 5)), std::string("\0\u00E9\0", 4));
}

TEST(Nfc, LongRunsAreNotQuadratic) {
  for (const std::string unit : {"\u0301", "\u0316\u0301", "e\u0301", "\u1100\u1161", "\u4F60", "\xCC"}) {
    std::string text;
    while (text.size() < 2'000'000) text += unit;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_LE(to_nfc(text).size(), text.size());
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << unit;
  }
}

TEST(Nfc, IsQwens) {
  const auto qwen = Tokenizer::load(WARPLOOM_TEST_DATA "/tokenizations/qwen2.gguf");
  const auto llama = Tokenizer::load(WARPLOOM_TEST_DATA "/tokenizations/llama-bpe.gguf");
  const std::string apart = "cafe\u0301 \u1112\u1161\u11AB", together = "caf\u00E9 \uD55C";
  EXPECT_EQ(qwen->encode(apart), qwen->encode(together));
  EXPECT_EQ(qwen->decode(qwen->encode(apart, {.add_special = false})), together);
  EXPECT_NE(llama->encode(apart), llama->encode(together));
  EXPECT_EQ(llama->decode(llama->encode(apart)), apart);
}

}  // namespace
}  // namespace warploom
