// Random models of every weight type: what a sequence's tokens are must follow from the sequence alone.
#include <algorithm>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/score.h"

namespace warploom {
namespace {

std::shared_ptr<const Model> load(const test::TinyModel& shape, int threads = 2, CpuIsa isa = CpuIsa::automatic) {
  const test::TemporaryModel file(test::tiny_model(shape));
  ModelOptions options;
  options.device.threads = threads;
  options.device.isa = isa;
  return Model::load(file.path(), options);
}

using test::expect_same;
using test::ragged_prompts;
test::Options sampled(std::int64_t max_tokens = 24) { return test::sampled(max_tokens); }

TEST(Engine, EveryWeightTypeRunsAndEveryInstructionSetAgrees) {
  for (const WeightType type : test::kAllWeightTypes) {
    test::TinyModel shape;
    shape.type = type;
    shape.tied = type != WeightType::q8_0;
    shape.biases = type == WeightType::f16;
    if (type == WeightType::q4_0) shape.architecture = "qwen2";
    const auto prompts = ragged_prompts(2);
    std::vector<test::Result> first;
    for (const CpuIsa isa : test::isas_for_models()) {
      const auto all = test::generate(load(shape, 2, isa), prompts, sampled(12));
      if (first.empty()) first = all;
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(all[i].token_ids.size(), 12u);
        expect_same(all[i], first[i], std::string(traits(type).name) + " on " + std::string(name(isa)));
      }
    }
  }
}

TEST(Engine, AloneEqualsInACrowdWhateverTheChunksAndThreads) {
  const auto prompts = ragged_prompts(32);
  const auto model = load({});
  std::vector<test::Result> alone;
  for (const auto& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, sampled()).at(0));
  for (const int threads : {1, 4}) {
    const auto other = load({}, threads);
    for (const std::int64_t chunk : {1, 7, 64, 512}) {
      test::Options options = sampled();
      options.max_num_batched_tokens = chunk;
      const auto all = test::generate(other, prompts, options);
      for (std::size_t i = 0; i < all.size(); ++i)
        expect_same(
            all[i], alone[i],
            "sequence " + std::to_string(i) + " chunk " + std::to_string(chunk) + " threads " + std::to_string(threads));
    }
  }
}

TEST(Engine, OneModelServesSeveralThreadsAtOnce) {
  const auto prompts = ragged_prompts(6);
  const auto model = load({});
  std::vector<test::Result> alone;
  for (const auto& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, sampled()).at(0));
  std::vector<test::Result> together(prompts.size());
  std::vector<std::thread> users;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    users.emplace_back([&, i] { together[i] = test::generate(model, {&prompts[i], 1}, sampled()).at(0); });
  for (std::thread& user : users) user.join();
  for (std::size_t i = 0; i < prompts.size(); ++i) expect_same(together[i], alone[i], "user " + std::to_string(i));
}

// A capacity that no machine has is cut to what the requests of a call can use; a Generator, whose cache stays, refuses it.
TEST(Engine, HugePoolsTakeNoMoreThanTheRequestNeeds) {
  const auto prompts = ragged_prompts(3);
  test::Options options = sampled();
  const auto model = load({});
  const auto plain = test::generate(model, prompts, options);
  options.kv_cache_tokens = INT64_MAX;
  const auto huge = test::generate(model, prompts, options);
  for (std::size_t i = 0; i < huge.size(); ++i) expect_same(huge[i], plain[i], "sequence " + std::to_string(i));
  Generator generator(model, options);
  EXPECT_THROW(test::generate(generator, prompts, sampled()), OutOfMemory);
}

TEST(Engine, ACallbackCannotCallItsGenerator) {
  const auto prompts = ragged_prompts(1);
  Generator generator(load({}));
  int refused = 0;
  test::Options options = sampled(3);
  options.on_token = [&](const TokenEvent&) {
    try {
      generator.clear_cache();
    } catch (const InvalidArgument&) {
      ++refused;
    }
    return true;
  };
  test::generate(generator, prompts, options);
  EXPECT_EQ(refused, 3);
  EXPECT_GT(generator.kv_cache_capacity(), 0);  // and is free again
}

TEST(Engine, WithoutTheCacheTheTextIsTheSame) {
  const auto prompts = ragged_prompts(5);
  const auto model = load({});
  const auto with = test::generate(model, prompts, sampled());
  test::Options options = sampled();
  options.use_kv_cache = false;
  const auto without = test::generate(model, prompts, options);
  for (std::size_t i = 0; i < with.size(); ++i) expect_same(without[i], with[i], std::to_string(i));
}

// Pools from just enough for the longest sequence to plenty: sequences wait and are preempted, and nobody's text knows.
TEST(Engine, SmallPoolsChangeNothing) {
  const auto prompts = ragged_prompts(10, 5);
  const auto model = load({});
  const auto want = test::generate(model, prompts, sampled());
  for (const std::int64_t kv_cache_tokens : {128, 160, 224, 400}) {
    for (const std::int64_t max_num_seqs : {2, 64}) {
      test::Options options = sampled();
      options.kv_cache_tokens = kv_cache_tokens;
      options.max_num_seqs = max_num_seqs;
      const auto got = test::generate(model, prompts, options);
      for (std::size_t i = 0; i < got.size(); ++i)
        expect_same(got[i], want[i], std::to_string(i) + " with " + std::to_string(kv_cache_tokens));
    }
  }
}

TEST(Engine, ASequenceThatCannotFitSaysSo) {
  const std::vector<std::vector<TokenId>> prompts = {std::vector<TokenId>(40, 7), {1, 2}};
  test::Options options = sampled(100);
  options.kv_cache_tokens = 64;
  const auto all = test::generate(load({}), prompts, options);
  EXPECT_EQ(all[0].finish_reason, FinishReason::context_full);
  EXPECT_EQ(all[0].token_ids.size(), 25u);  // positions 0 to 63 are cached; the 65th token needs no place
}

TEST(Engine, ContinuationsShareTheirPromptAndDiffer) {
  const auto prompts = ragged_prompts(3, 9);
  const auto model = load({});
  test::Options options = sampled();
  options.n = 6;
  const auto all = test::generate(model, prompts, options);
  ASSERT_EQ(all.size(), 18u);
  EXPECT_NE(all[0].token_ids, all[1].token_ids);
  // Alone, in tight pools, with small batches: the same continuations.
  for (const std::int64_t kv_cache_tokens : {144, 250, 0}) {
    test::Options tight = options;
    tight.kv_cache_tokens = kv_cache_tokens;
    tight.max_num_seqs = 4;
    const auto again = test::generate(model, prompts, tight);
    for (std::size_t i = 0; i < all.size(); ++i) expect_same(again[i], all[i], std::to_string(i));
  }
}

// Prompts of one batch that begin alike: whole blocks are computed once, whenever and in whatever room the others come.
TEST(Engine, PromptsThatBeginAlikeShareWhatTheyBeginWith) {
  const auto model = load({});
  std::vector<std::vector<TokenId>> prompts = ragged_prompts(8, 4);
  for (std::size_t i = 0; i < prompts.size(); ++i) prompts[i].insert(prompts[i].begin(), i == 3 ? 20 : 50, 9);
  prompts[5] = prompts[4];
  std::vector<test::Result> alone;
  for (const auto& prompt : prompts) alone.push_back(test::generate(model, {&prompt, 1}, sampled()).at(0));
  for (const std::int64_t kv_cache_tokens : {0, 192, 300, 500}) {
    for (const std::int64_t chunk : {7, 512}) {
      test::Options options = sampled();
      options.kv_cache_tokens = kv_cache_tokens;
      options.max_num_batched_tokens = chunk;
      const auto all = test::generate(model, prompts, options);
      for (std::size_t i = 0; i < all.size(); ++i) {
        expect_same(all[i], alone[i], std::to_string(i) + " with " + std::to_string(kv_cache_tokens));
        if (kv_cache_tokens > 0) continue;
        if (i == 5) {
          EXPECT_EQ(all[i].cached_tokens, static_cast<std::int64_t>(prompts[i].size() - 1) / 16 * 16);
        } else {
          EXPECT_GE(all[i].cached_tokens, i == 0 ? 0 : i == 3 ? 16 : 48) << i;
        }
      }
      EXPECT_EQ(all[0].cached_tokens, 0);
    }
  }
}

TEST(Engine, CallbacksSeeTheTextAndCanStop) {
  const auto prompts = ragged_prompts(4);
  const auto model = load({});
  const auto whole = test::generate(model, prompts, sampled());
  std::vector<std::string> shown(4);
  std::vector<int> tokens(4);
  test::Options options = sampled();
  options.on_token = [&](const TokenEvent& event) {
    shown[event.request] += event.text;
    return ++tokens[event.request] < 5 || event.request != 2;
  };
  const auto stopped = test::generate(model, prompts, options);
  for (std::size_t i = 0; i < 4; ++i) {
    if (i == 2) {
      EXPECT_EQ(stopped[i].finish_reason, FinishReason::cancelled);
      EXPECT_EQ(stopped[i].token_ids.size(), 5u);
      EXPECT_TRUE(whole[i].text.starts_with(shown[i]));
    } else {
      expect_same(stopped[i], whole[i], std::to_string(i));
      EXPECT_EQ(shown[i], whole[i].text);
    }
  }
}

TEST(Engine, AThrowingCallbackLeavesEverythingUsable) {
  const auto prompts = ragged_prompts(3);
  const auto model = load({});
  Generator generator(model);
  const auto want = test::generate(model, prompts, sampled());
  test::Options throwing = sampled();
  throwing.on_token = [calls = 0](const TokenEvent&) mutable -> bool {
    if (++calls == 7) throw std::runtime_error("enough");
    return true;
  };
  EXPECT_THROW(test::generate(generator, prompts, throwing), std::runtime_error);
  const auto again = test::generate(generator, prompts, sampled());
  for (std::size_t i = 0; i < again.size(); ++i) expect_same(again[i], want[i], std::to_string(i));
}

TEST(Engine, StopStringsAndStopTokensEndASequence) {
  const auto prompts = ragged_prompts(1);
  const auto model = load({});
  const test::Result whole = test::generate(model, prompts, sampled(60)).at(0);
  test::Options options = sampled(60);
  options.stop_token_ids = {whole.token_ids[20]};
  const test::Result by_token = test::generate(model, prompts, options).at(0);
  EXPECT_EQ(by_token.finish_reason, FinishReason::stop_token);
  EXPECT_LE(by_token.token_ids.size(), 21u);
  options = sampled(60);
  const std::size_t middle = whole.text.size() / 2;
  options.stop = {whole.text.substr(middle, 3)};
  std::string shown;
  options.on_token = [&](const TokenEvent& event) {
    shown += event.text;
    return true;
  };
  const test::Result by_text = test::generate(model, prompts, options).at(0);
  EXPECT_EQ(by_text.finish_reason, FinishReason::stop_string);
  EXPECT_EQ(by_text.text, whole.text.substr(0, whole.text.find(options.stop[0])));
  EXPECT_EQ(shown, by_text.text);
}

TEST(Engine, ScoresAgreeWithGenerationAndWindows) {
  const auto prompts = ragged_prompts(1, 12);
  const auto model = load({});
  const test::Result g = test::generate(model, prompts, sampled(30)).at(0);
  std::vector<TokenId> all = prompts[0];
  all.insert(all.end(), g.token_ids.begin(), g.token_ids.end());
  const Score scored = score(model, all);
  ASSERT_EQ(scored.logprobs.size(), all.size() - 1);
  // Both are exact but for the resolution of the sampler's weights.
  for (std::size_t i = 0; i < g.token_ids.size(); ++i)
    EXPECT_NEAR(scored.logprobs[prompts[0].size() - 1 + i], g.logprobs[i], 1e-5);
  const Score windows = score(model, all, {.window = 16});
  EXPECT_EQ(windows.logprobs.size(), all.size() - (all.size() + 15) / 16);
}

TEST(Engine, ScoringTellsItsProgressAndEndsWhereThatThrows) {
  const auto model = load({});
  for (const auto& [count, bos] : {std::pair{250, -1}, {201, -1}, {250, 256}, {199, 256}}) {
    const std::vector<TokenId> tokens(static_cast<std::size_t>(count), 70);
    std::vector<double> shares;
    ScoreOptions options{.window = 100, .bos = bos};
    const Score want = score(model, tokens, options);
    options.progress = [&](double share) { shares.push_back(share); };
    EXPECT_EQ(score(model, tokens, options).logprobs, want.logprobs);
    EXPECT_GT(shares.size(), 3u);
    EXPECT_GT(shares.front(), 0.0);
    EXPECT_TRUE(std::ranges::is_sorted(shares));
    EXPECT_EQ(shares.back(), 1.0);

    int calls = 0;
    options.progress = [&](double) {
      if (++calls == 2) throw std::domain_error("enough");
    };
    EXPECT_THROW(static_cast<void>(score(model, tokens, options)), std::domain_error);
    EXPECT_EQ(calls, 2);
  }
}

// Only allowed tokens are drawn, and requests without a mask beside them do not notice.
TEST(Engine, MasksAllowWhatTheySay) {
  const auto prompts = ragged_prompts(3, 6);
  const auto model = load({});
  std::vector<Request> requests = test::requests_for(prompts, sampled(30));
  requests[1].allowed_token_ids = {5, 70, 71, 200, 259};
  const std::vector<RequestOutput> all = generate(model, requests);
  for (const TokenId token : all[1].completions[0].token_ids)
    EXPECT_NE(std::ranges::find(requests[1].allowed_token_ids, token), requests[1].allowed_token_ids.end()) << token;
  for (std::size_t i = 0; i < requests.size(); ++i)
    expect_same(all[i].completions[0], generate(model, requests[i]).completions[0], std::to_string(i));
  // A bias of -inf on all others says the same.
  Request biased = requests[1];
  biased.allowed_token_ids.clear();
  for (TokenId token = 0; token < 262; ++token)
    if (std::ranges::find(requests[1].allowed_token_ids, token) == requests[1].allowed_token_ids.end())
      biased.logit_bias.push_back({token, -INFINITY});
  expect_same(generate(model, biased).completions[0], all[1].completions[0], "biased");
}

TEST(Engine, ListsTheMostProbableTokens) {
  const auto prompts = ragged_prompts(3, 6);
  const auto model = load({});
  std::vector<Request> requests = test::requests_for(prompts, sampled(10));
  requests[0].top_logprobs = 3;
  requests[2].top_logprobs = 262;
  requests[2].allowed_token_ids = {5, 70, 71, 200};
  const std::vector<RequestOutput> all = generate(model, requests);
  EXPECT_TRUE(all[1].completions[0].top_logprobs.empty());
  for (const std::size_t i : {0, 2}) {
    const Completion& c = all[i].completions[0];
    ASSERT_EQ(c.top_logprobs.size(), c.token_ids.size());
    for (std::size_t t = 0; t < c.token_ids.size(); ++t) {
      const std::vector<TokenLogprob>& top = c.top_logprobs[t];
      ASSERT_EQ(top.size(), i == 0 ? 3u : 4u);
      double sum = 0;
      for (std::size_t k = 0; k < top.size(); ++k) {
        sum += std::exp(top[k].logprob);
        if (k > 0) {
          EXPECT_LE(top[k].logprob, top[k - 1].logprob);
        }
        if (top[k].token == c.token_ids[t]) {
          EXPECT_EQ(top[k].logprob, c.logprobs[t]);
        }
      }
      if (i == 2) {
        EXPECT_NEAR(sum, 1.0, 1e-6);
      }
    }
  }
  // Greedy takes the first of them.
  requests[0].sampling.temperature = 0.0f;
  const Completion greedy = generate(model, requests[0]).completions[0];
  for (std::size_t t = 0; t < greedy.token_ids.size(); ++t) EXPECT_EQ(greedy.top_logprobs[t][0].token, greedy.token_ids[t]);
}

}  // namespace
}  // namespace warploom
