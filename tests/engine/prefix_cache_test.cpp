// What was computed in one call of test::generate() serves the next, and no text shows it.
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/tiny_model.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using test::expect_same;
using test::ragged_prompts;
using Tokens = std::vector<TokenId>;

std::shared_ptr<const Model> load() {
  test::TinyModel shape;
  shape.context = 512;
  const test::TemporaryModel file(test::tiny_model(shape));
  return Model::load(file.path());
}

std::unique_ptr<Generator> make_generator(const std::shared_ptr<const Model>& model, std::int64_t kv_cache_tokens = 0) {
  EngineOptions options;
  options.kv_cache_tokens = kv_cache_tokens;
  return std::make_unique<Generator>(model, options);
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(PrefixCaching, ATextThatGrowsIsComputedFromItsEnd) {
  const auto model = load();
  const auto generator = make_generator(model);
  Tokens text;
  std::int64_t known = 0;
  for (const Tokens& message : ragged_prompts(6)) {
    text = joined(text, message);
    const auto want = test::generate(model, {&text, 1}, test::sampled(24)).at(0),
               got = test::generate(*generator, {&text, 1}, test::sampled(24)).at(0);
    expect_same(got, want, std::to_string(text.size()) + " tokens");
    EXPECT_EQ(want.cached_tokens, 0);
    EXPECT_EQ(got.cached_tokens, known / 16 * 16);
    text = joined(text, got.token_ids);
    known = static_cast<std::int64_t>(text.size()) - 1;  // nobody asked for what follows the last one
    EXPECT_EQ(generator->cached_tokens(), known / 16 * 16);
  }
  ASSERT_GT(known, 200);
}

TEST(PrefixCaching, TheSamePromptAgainComputesItsLastTokens) {
  const auto model = load();
  const auto generator = make_generator(model);
  for (const std::size_t size : {1u, 2u, 16u, 17u, 32u, 33u}) {
    Tokens prompt(size);
    std::iota(prompt.begin(), prompt.end(), static_cast<TokenId>(size));
    const test::Result first = test::generate(*generator, {&prompt, 1}, test::sampled(24)).at(0),
                       again = test::generate(*generator, {&prompt, 1}, test::sampled(24)).at(0);
    expect_same(again, first, std::to_string(size));
    EXPECT_EQ(again.cached_tokens, static_cast<std::int64_t>(size - 1) / 16 * 16);
  }
}

// Prompts that begin alike and go on differently, in batches with continuations, in caches from scarcely enough to plenty.
TEST(PrefixCaching, AnyUseInAnyRoomChangesNothing) {
  const auto model = load();
  const Tokens system(50, 9);
  std::vector<std::vector<Tokens>> calls;
  for (std::uint32_t i = 0; i < 8; ++i) {
    std::vector<Tokens> prompts;
    for (const Tokens& message : ragged_prompts(1 + i % 3, i / 2))
      prompts.push_back(i % 4 == 3 ? message : joined(system, message));
    calls.push_back(prompts);
  }
  for (const std::int64_t kv_cache_tokens : {192, 320, 700, 0}) {
    EngineOptions engine;
    engine.kv_cache_tokens = kv_cache_tokens;
    engine.max_num_seqs = kv_cache_tokens == 320 ? 2 : 64;
    Generator generator(model, engine);
    std::int64_t reused = 0;
    for (std::size_t c = 0; c < calls.size(); ++c) {
      test::Options options = test::sampled(24);
      options.n = 1 + static_cast<int>(c % 3);
      if (c % 5 == 4) options.sampling.repetition_penalty = 1.2f;
      const auto want = test::generate(model, calls[c], options), got = test::generate(generator, calls[c], options);
      for (std::size_t i = 0; i < want.size(); ++i) {
        expect_same(
            got[i], want[i],
            "call " + std::to_string(c) + " sequence " + std::to_string(i) + " room " + std::to_string(kv_cache_tokens));
        reused += got[i].cached_tokens - want[i].cached_tokens;
      }
    }
    EXPECT_GT(reused, 0) << kv_cache_tokens;
  }
}

// The least recently used blocks go first, and of a text its end before its beginning.
TEST(PrefixCaching, WhatIsNotUsedMakesRoom) {
  const auto model = load();
  const auto generator = make_generator(model, 100);
  const Tokens one(56, 1), two(56, 2), three(40, 3);
  const auto reused = [&](const Tokens& prompt) {
    return test::generate(*generator, {&prompt, 1}, test::sampled(4)).at(0).cached_tokens;
  };
  EXPECT_EQ(generator->kv_cache_capacity(), 0);
  EXPECT_EQ(reused(one), 0);
  EXPECT_EQ(generator->kv_cache_capacity(), 112);
  EXPECT_EQ(reused(two), 0);
  EXPECT_EQ(reused(one), 48);
  EXPECT_EQ(reused(three), 0);  // takes the end of two
  EXPECT_EQ(reused(one), 48);
  EXPECT_EQ(reused(two), 16);
  generator->clear_cache();
  EXPECT_EQ(generator->cached_tokens(), 0);
  EXPECT_EQ(reused(two), 0);
}

TEST(PrefixCaching, CanBeSwitchedOff) {
  const auto model = load();
  EngineOptions options;
  options.enable_prefix_caching = false;
  Generator generator(model, options);
  const Tokens prompt(40, 1);
  const auto first = test::generate(generator, {&prompt, 1}, test::sampled(24)).at(0),
             again = test::generate(generator, {&prompt, 1}, test::sampled(24)).at(0);
  expect_same(again, first, "again");
  EXPECT_EQ(again.cached_tokens, 0);
  EXPECT_EQ(generator.cached_tokens(), 0);
}

TEST(PrefixCaching, ASequenceThatOutgrowsTheCacheSaysSoAndTheNextFits) {
  const auto model = load();
  const auto generator = make_generator(model, 64);
  const Tokens prompt(40, 7);
  const auto all = test::generate(*generator, {&prompt, 1}, test::sampled(100)).at(0);
  EXPECT_EQ(all.finish_reason, FinishReason::context_full);
  EXPECT_EQ(all.token_ids.size(), 25u);
  expect_same(test::generate(*generator, {&prompt, 1}, test::sampled(100)).at(0), all, "again");
  const Tokens longer(200, 7);
  EXPECT_EQ(test::generate(*generator, {&longer, 1}, test::sampled(24)).at(0).finish_reason, FinishReason::context_full);
  const Tokens other(40, 8);
  expect_same(test::generate(*generator, {&other, 1}, test::sampled(24)).at(0),
              test::generate(model, {&other, 1}, test::sampled(24)).at(0), "other");
}

// Stopped from outside, by the callback, by an exception: the next call goes on from there.
TEST(PrefixCaching, SurvivesEveryEnd) {
  const auto model = load();
  const Tokens prompt = joined(Tokens(60, 5), ragged_prompts(1, 8).at(0));
  const auto want = test::generate(model, {&prompt, 1}, test::sampled(24)).at(0);
  const auto generator = make_generator(model);
  const auto sixth = [count = std::make_shared<int>(0)] { return ++*count % 6 == 0; };
  const auto again = [&] { return test::generate(*generator, {&prompt, 1}, test::sampled(24)).at(0); };

  test::Options options = test::sampled(24);
  options.should_abort = sixth;
  EXPECT_EQ(test::generate(*generator, {&prompt, 1}, options).at(0).finish_reason, FinishReason::cancelled);
  const auto after_abort = again();
  expect_same(after_abort, want, "after should_abort");
  EXPECT_GE(after_abort.cached_tokens, 48);

  options = test::sampled(24);
  options.on_token = [sixth](const TokenEvent&) { return !sixth(); };
  EXPECT_EQ(test::generate(*generator, {&prompt, 1}, options).at(0).finish_reason, FinishReason::cancelled);
  expect_same(again(), want, "after the callback");

  options.on_token = [sixth](const TokenEvent&) -> bool {
    if (sixth()) throw std::runtime_error("enough");
    return true;
  };
  EXPECT_THROW(test::generate(*generator, {&prompt, 1}, options), std::runtime_error);
  expect_same(again(), want, "after an exception");
}

// What waits for room that only running sequences have costs no prefix.
TEST(PrefixCaching, WaitingForRoomEvictsNothing) {
  const auto model = load();
  const auto generator = make_generator(model, 20 * 16);
  const Tokens known(160, 3);
  test::generate(*generator, {&known, 1}, test::sampled(1));
  const std::vector<Tokens> prompts = {Tokens(100, 4), joined(known, Tokens(60, 5))};
  std::vector<test::Result> alone;
  for (const Tokens& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, test::sampled(24)).at(0));
  const auto got = test::generate(*generator, prompts, test::sampled(24));
  for (std::size_t i = 0; i < 2; ++i) expect_same(got[i], alone[i], std::to_string(i));
  EXPECT_EQ(got[1].cached_tokens, 160);
}

TEST(PrefixCaching, CallsFromSeveralThreadsRunOneAfterTheOther) {
  const auto model = load();
  const auto generator = make_generator(model);
  const auto prompts = ragged_prompts(6, 2);
  std::vector<test::Result> want, got(prompts.size());
  for (const Tokens& prompt : prompts) want.push_back(test::generate(model, {&prompt, 1}, test::sampled(24)).at(0));
  std::vector<std::thread> users;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    users.emplace_back([&, i] { got[i] = test::generate(*generator, {&prompts[i], 1}, test::sampled(24)).at(0); });
  for (std::thread& user : users) user.join();
  for (std::size_t i = 0; i < prompts.size(); ++i) expect_same(got[i], want[i], std::to_string(i));
}

}  // namespace
}  // namespace warploom
