#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <random>

#include "tokenizer/gguf_in_memory.h"
#include "tokenizer/tokenizer.h"

namespace warploom {
namespace {

std::string encode_utf8(char32_t c) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryCodePoint) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    const std::string text = encode_utf8(c);
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    const Utf8Char front = utf8_front(text);
    ASSERT_EQ(front.state, surrogate ? Utf8State::invalid : Utf8State::valid) << std::hex << static_cast<unsigned>(c);
    if (surrogate) continue;
    ASSERT_EQ(front.bytes, text.size());
    for (std::size_t n = 1; n < text.size(); ++n) {
      ASSERT_EQ(utf8_front(text.substr(0, n)).state, Utf8State::incomplete);
      ASSERT_EQ(incomplete_utf8_suffix("x" + text.substr(0, n)), n);
    }
    ASSERT_EQ(incomplete_utf8_suffix(text), 0u);
  }
}

TEST(Utf8, WhatIsNotACharacter) {
  for (const std::string text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                                 "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("}) {
    EXPECT_EQ(utf8_front(text).state, Utf8State::invalid);
    EXPECT_EQ(incomplete_utf8_suffix(text), 0u);
  }
}

// A vocabulary of the 256 bytes alone, so that every character comes in parts.
std::shared_ptr<const Tokenizer> bytes_only() {
  static std::vector<std::string> names;
  auto file = small_sentencepiece();
  names.clear();
  for (int b = 0; b < 256; ++b) {
    constexpr char kHex[] = "0123456789ABCDEF";
    names.push_back(std::string("<0x") + kHex[b / 16] + kHex[b % 16] + ">");
  }
  std::vector<std::string_view> tokens(names.begin(), names.end());
  file->values["tokenizer.ggml.tokens"] = GgufArray(tokens);
  file->values["tokenizer.ggml.token_type"] = GgufArray(std::vector<std::int64_t>(256, 6));
  file->values["tokenizer.ggml.scores"] = GgufArray(std::vector<double>(256, 0.0));
  file->values["tokenizer.ggml.add_space_prefix"] = false;
  return load_tokenizer(file);
}

std::vector<TokenId> as_ids(std::string_view bytes) {
  std::vector<TokenId> ids;
  for (const char byte : bytes) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
}

TEST(StreamDecoder, HoldsBackUntilACharacterIsWhole) {
  StreamDecoder stream(bytes_only());
  std::vector<std::string> parts;
  for (const TokenId id : as_ids("a\u00E9\u20AC\U0001F600")) parts.push_back(stream.push(id));
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "", "\u00E9", "", "", "\u20AC", "", "", "", "\U0001F600"}));
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, LetsInvalidBytesThrough) {
  StreamDecoder stream(bytes_only());
  std::vector<std::string> parts;
  for (const TokenId id : as_ids("\xFF\xE2\x82x\x80\xF0\x9F\xF0\x9F\x98\x80\xC3")) parts.push_back(stream.push(id));
  EXPECT_EQ(parts,
            (std::vector<std::string>{"\xFF", "", "", "\xE2\x82x", "\x80", "", "", "\xF0\x9F", "", "", "\U0001F600", ""}));
  EXPECT_EQ(stream.finish(), "\xC3");
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, RandomBytes) {
  const std::uint32_t seed = 20240607;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto tokenizer = bytes_only();
  constexpr unsigned char kBytes[] = {'a', 0x80, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xFF};
  for (int round = 0; round < 2000; ++round) {
    StreamDecoder stream(tokenizer);
    std::string text, together;
    std::vector<std::size_t> ends;  // of what came out so far
    for (int i = 0; i < 24; ++i) {
      text.push_back(static_cast<char>(kBytes[random() % std::size(kBytes)]));
      together += stream.push(static_cast<unsigned char>(text.back()));
      ends.push_back(together.size());
      ASSERT_LE(text.size() - together.size(), 3u);
    }
    for (std::size_t i = 0; i < text.size(); i += utf8_front(std::string_view(text).substr(i)).bytes) {
      const Utf8Char front = utf8_front(std::string_view(text).substr(i));
      for (const std::size_t end : ends) ASSERT_FALSE(i < end && end < i + front.bytes) << testing::PrintToString(text);
    }
    ASSERT_EQ(together + stream.finish(), text);
  }
}

TEST(StreamDecoder, SpaceAtTheStart) {
  const auto tokenizer = load_tokenizer(small_sentencepiece());
  const TokenId space_a = 7;
  EXPECT_EQ(StreamDecoder(tokenizer).push(space_a), " a");              // goes on after a prompt
  EXPECT_EQ(StreamDecoder(tokenizer, false, true).push(space_a), "a");  // begins a text
  EXPECT_THROW(StreamDecoder(nullptr), InvalidArgument);
}

}  // namespace
}  // namespace warploom
