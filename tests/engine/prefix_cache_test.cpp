// What was computed in one call of generate() serves the next, and no text shows it.
#include "warploom/prefix_cache.h"

#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/prompts.h"
#include "support/same_generation.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/generator.h"

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

GenerateOptions with(const std::shared_ptr<PrefixCache>& cache, std::int64_t max_tokens = 24) {
  GenerateOptions options = test::sampled(max_tokens);
  options.prefix_cache = cache;
  return options;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(PrefixCache, ATextThatGrowsIsComputedFromItsEnd) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model);
  Tokens text;
  std::int64_t known = 0;
  for (const Tokens& message : ragged_prompts(6)) {
    text = joined(text, message);
    const Generation want = generate(model, {&text, 1}, test::sampled(24)).at(0),
                     got = generate(model, {&text, 1}, with(cache)).at(0);
    expect_same(got, want, std::to_string(text.size()) + " tokens");
    EXPECT_EQ(want.timings.cached_tokens, 0);
    EXPECT_EQ(got.timings.cached_tokens, known / 16 * 16);
    text = joined(text, got.ids);
    known = static_cast<std::int64_t>(text.size()) - 1;  // nobody asked for what follows the last one
    EXPECT_EQ(cache->size(), known);
  }
  ASSERT_GT(known, 200);
}

TEST(PrefixCache, TheSamePromptAgainComputesItsLastTokens) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model);
  for (const std::size_t size : {1u, 2u, 16u, 17u, 32u, 33u}) {
    Tokens prompt(size);
    std::iota(prompt.begin(), prompt.end(), static_cast<TokenId>(size));
    const Generation first = generate(model, {&prompt, 1}, with(cache)).at(0),
                     again = generate(model, {&prompt, 1}, with(cache)).at(0);
    expect_same(again, first, std::to_string(size));
    EXPECT_EQ(again.timings.cached_tokens, static_cast<std::int64_t>(size - 1) / 16 * 16);
  }
}

// Prompts that begin alike and go on differently, in batches with continuations, in caches from scarcely enough to plenty.
TEST(PrefixCache, AnyUseInAnyRoomChangesNothing) {
  const auto model = load();
  const Tokens system(50, 9);
  std::vector<std::vector<Tokens>> calls;
  for (std::uint32_t i = 0; i < 8; ++i) {
    std::vector<Tokens> prompts;
    for (const Tokens& message : ragged_prompts(1 + i % 3, i / 2))
      prompts.push_back(i % 4 == 3 ? message : joined(system, message));
    calls.push_back(prompts);
  }
  for (const std::int64_t tokens : {192, 320, 700, 0}) {
    const auto cache = std::make_shared<PrefixCache>(model, tokens);
    std::int64_t reused = 0;
    for (std::size_t c = 0; c < calls.size(); ++c) {
      GenerateOptions options = test::sampled(24);
      options.n = 1 + static_cast<int>(c % 3);
      options.max_num_seqs = c % 2 ? 64 : 2;
      if (c % 5 == 4) options.sampling.repetition_penalty = 1.2f;
      const auto want = generate(model, calls[c], options);
      options.prefix_cache = cache;
      const auto got = generate(model, calls[c], options);
      for (std::size_t i = 0; i < want.size(); ++i) {
        expect_same(got[i], want[i],
                    "call " + std::to_string(c) + " sequence " + std::to_string(i) + " room " + std::to_string(tokens));
        reused += got[i].timings.cached_tokens - want[i].timings.cached_tokens;
      }
    }
    EXPECT_GT(reused, 0) << tokens;
  }
}

TEST(PrefixCache, WhatIsNotUsedMakesRoom) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model, 100);
  EXPECT_EQ(cache->capacity(), 112);
  const Tokens one(40, 1), two(40, 2), three(40, 3);
  const auto reused = [&](const Tokens& prompt) {
    return generate(model, {&prompt, 1}, with(cache, 4)).at(0).timings.cached_tokens;
  };
  EXPECT_EQ(reused(one), 0);
  EXPECT_EQ(reused(two), 0);
  EXPECT_EQ(reused(one), 32);
  EXPECT_EQ(reused(three), 0);  // takes the room of two
  EXPECT_EQ(reused(one), 32);
  EXPECT_EQ(reused(two), 0);
  cache->clear();
  EXPECT_EQ(cache->size(), 0);
  EXPECT_EQ(reused(two), 0);
}

TEST(PrefixCache, ASequenceThatOutgrowsItSaysSoAndTheNextFits) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model, 64);
  const Tokens prompt(40, 7);
  const Generation all = generate(model, {&prompt, 1}, with(cache, 100)).at(0);
  EXPECT_EQ(all.finish_reason, FinishReason::context_full);
  EXPECT_EQ(all.ids.size(), 25u);
  const Generation again = generate(model, {&prompt, 1}, with(cache, 100)).at(0);
  expect_same(again, all, "again");
  const Tokens longer(200, 7);
  EXPECT_EQ(generate(model, {&longer, 1}, with(cache)).at(0).finish_reason, FinishReason::context_full);
  const Tokens other(40, 8);
  expect_same(generate(model, {&other, 1}, with(cache)).at(0), generate(model, {&other, 1}, test::sampled(24)).at(0),
              "other");
}

// Stopped from outside, by the callback, by an exception: the next call goes on from there.
TEST(PrefixCache, SurvivesEveryEnd) {
  const auto model = load();
  const Tokens prompt = joined(Tokens(60, 5), ragged_prompts(1, 8).at(0));
  const Generation want = generate(model, {&prompt, 1}, test::sampled(24)).at(0);
  const auto cache = std::make_shared<PrefixCache>(model);
  int tokens = 0;
  const auto sixth = [&] { return ++tokens >= 6; };

  GenerateOptions options = with(cache);
  options.abort_requested = sixth;
  EXPECT_EQ(generate(model, {&prompt, 1}, options).at(0).finish_reason, FinishReason::cancelled);
  Generation again = generate(model, {&prompt, 1}, with(cache)).at(0);
  expect_same(again, want, "after abort_requested");
  EXPECT_GE(again.timings.cached_tokens, 48);

  tokens = 0;
  EXPECT_EQ(generate(model, {&prompt, 1}, with(cache), [&](const TokenEvent&) { return !sixth(); }).at(0).finish_reason,
            FinishReason::cancelled);
  expect_same(generate(model, {&prompt, 1}, with(cache)).at(0), want, "after the callback");

  tokens = 0;
  cache->clear();
  EXPECT_THROW(generate(model, {&prompt, 1}, with(cache),
                        [&](const TokenEvent&) -> bool {
                          if (sixth()) throw std::runtime_error("enough");
                          return true;
                        }),
               std::runtime_error);
  EXPECT_EQ(cache->size(), 0);
  expect_same(generate(model, {&prompt, 1}, with(cache)).at(0), want, "after an exception");
}

// What waits for room that only running sequences have costs no text.
TEST(PrefixCache, WaitingForRoomForgetsNothing) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model, 20 * 16);
  const Tokens known(160, 3);
  generate(model, {&known, 1}, with(cache, 1));
  const std::vector<Tokens> prompts = {Tokens(100, 4), joined(known, Tokens(60, 5))};
  std::vector<Generation> alone;
  for (const Tokens& prompt : prompts) alone.push_back(generate(model, {&prompt, 1}, test::sampled(24)).at(0));
  const auto got = generate(model, prompts, with(cache));
  for (std::size_t i = 0; i < 2; ++i) expect_same(got[i], alone[i], std::to_string(i));
  EXPECT_EQ(got[1].timings.cached_tokens, 160);
}

// A sequence that ended for want of blocks leaves those that hold none of its tokens.
TEST(PrefixCache, ATextHoldsNoBlockMoreThanItTakes) {
  const auto model = load();
  const auto cache = std::make_shared<PrefixCache>(model, 12 * 16);
  Tokens prompt(300);
  std::iota(prompt.begin(), prompt.end(), 0);
  for (TokenId& token : prompt) token %= 250;
  GenerateOptions options = with(cache);
  options.max_num_batched_tokens = 96;  // of which a second fits and a third does not
  EXPECT_EQ(generate(model, {&prompt, 1}, options).at(0).finish_reason, FinishReason::context_full);
  const std::int64_t kept = cache->size();
  EXPECT_EQ(kept, 192);
  cache->clear();
  options.max_num_batched_tokens = 120;
  EXPECT_EQ(generate(model, {&prompt, 1}, options).at(0).finish_reason, FinishReason::context_full);
  EXPECT_EQ(cache->size(), 120);  // in 8 blocks of 12
  const Tokens other(40, 251);
  generate(model, {&other, 1}, with(cache, 8));
  EXPECT_GT(cache->size(), 120);
}

TEST(PrefixCache, RefusesWhatCannotBe) {
  const auto model = load();
  EXPECT_THROW(PrefixCache(nullptr), InvalidArgument);
  EXPECT_THROW(PrefixCache(model, -1), InvalidArgument);
  EXPECT_THROW(PrefixCache(model, INT64_MAX), Error);
  EXPECT_THROW(PrefixCache(model, 0, 0), InvalidArgument);
  EXPECT_THROW(PrefixCache(model, 0, 5000), InvalidArgument);
  const auto cache = std::make_shared<PrefixCache>(model);
  const Tokens prompt = {1, 2, 3};
  const auto expect_refused = [&](const GenerateOptions& options, const std::shared_ptr<const Model>& m, const char* what) {
    try {
      generate(m, {&prompt, 1}, options);
      FAIL() << what;
    } catch (const InvalidArgument& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(what));
    }
  };
  GenerateOptions options = with(cache);
  expect_refused(options, load(), "another model");
  options.kv_cache = false;
  expect_refused(options, model, "kv_cache is false");
  options.kv_cache = true;
  options.kv_cache_tokens = 100;
  expect_refused(options, model, "kv_cache_tokens is 100");
  generate(model, {&prompt, 1}, with(cache, 2), [&](const TokenEvent&) {
    expect_refused(with(cache), model, "in use");
    EXPECT_THROW(cache->clear(), InvalidArgument);
    return true;
  });
  EXPECT_EQ(generate(model, {&prompt, 1}, with(cache)).size(), 1u);  // and is free again
}

}  // namespace
}  // namespace warploom
