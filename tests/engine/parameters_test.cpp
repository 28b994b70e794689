// What each field of a Request does, one by one.
#include <chrono>
#include <cmath>
#include <future>
#include <memory>
#include <numeric>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/score.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using Tokens = std::vector<TokenId>;

class Parameters : public testing::Test {
 protected:
  Parameters()
      : file_(test::tiny_model()), model_(Model::load(file_.path())), generator_(model_, {.kv_cache_tokens = 4096}) {}

  static Request request(std::int64_t max_tokens = 20) {
    Request request;
    request.prompt = Tokens{10, 20, 30, 40, 50};
    request.max_tokens = max_tokens;
    request.sampling = {.temperature = 1.0f, .top_k = 40, .seed = 5};
    request.ignore_eos = true;
    return request;
  }
  Completion first(const Request& request) { return generator_.generate(request).completions.at(0); }

  test::TemporaryModel file_;
  std::shared_ptr<const Model> model_;
  Generator generator_;
};

// Prefers low ids: token i has the logit -(i + 1).
void prefer_low_ids(const CompletionContext&, std::span<float> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = -static_cast<float>(i + 1);
}

TEST_F(Parameters, PenaltiesCountWhatIsGeneratedAndByChoiceThePromptOrAWindow) {
  Request with = request(5);
  with.prompt = Tokens{0, 1, 2};
  with.sampling = {.temperature = 0.0f, .presence_penalty = 1000.0f};
  with.logits_processor = prefer_low_ids;
  EXPECT_EQ(first(with).token_ids, (Tokens{0, 1, 2, 3, 4}));
  with.penalty_window = 2;
  EXPECT_EQ(first(with).token_ids, (Tokens{0, 1, 2, 0, 1}));
  with.penalize_prompt = true;
  with.penalty_window = 3;
  EXPECT_EQ(first(with).token_ids, (Tokens{3, 0, 1, 2, 3}));
  with.penalty_window = 0;
  EXPECT_EQ(first(with).token_ids, (Tokens{3, 4, 5, 6, 7}));
  // The repetition penalty always counts the prompt.
  with.penalize_prompt = false;
  with.sampling = {.temperature = 0.0f, .repetition_penalty = 1000.0f};
  EXPECT_EQ(first(with).token_ids, (Tokens{3, 4, 5, 6, 7}));
  with.penalty_window = 2;
  EXPECT_EQ(first(with).token_ids, (Tokens{0, 1, 2, 0, 1}));
  // -1, then -2 beside -1 - 1.5, and so on.
  with.penalty_window = 0;
  with.sampling = {.temperature = 0.0f, .frequency_penalty = 1.5f};
  EXPECT_EQ(first(with).token_ids, (Tokens{0, 1, 0, 2, 1}));
  with.penalty_window = -1;
  EXPECT_THROW(first(with), InvalidArgument);
}

// Either of two tokens, with equal odds.
Request toss(const Tokens& prompt, std::int64_t count) {
  Request request;
  request.prompt = prompt;
  request.max_tokens = count;
  request.sampling.seed = 5;
  request.allowed_token_ids = {65, 66};
  request.logits_processor = [](const CompletionContext&, std::span<float> logits) { std::ranges::fill(logits, 0.0f); };
  return request;
}

TEST_F(Parameters, PromptsOfOneSeedDrawIndependently) {
  constexpr std::size_t kPrompts = 400;
  constexpr std::int64_t kDraws = 32;
  std::vector<Request> requests;
  for (std::size_t i = 0; i < kPrompts; ++i)
    requests.push_back(toss({static_cast<TokenId>(i / 20), static_cast<TokenId>(i % 20)}, kDraws));
  const std::vector<RequestOutput> outputs = generator_.generate(requests);
  std::set<Tokens> different;
  std::vector<std::size_t> heads(kDraws);
  for (const RequestOutput& output : outputs) {
    const Tokens& drawn = output.completions.at(0).token_ids;
    different.insert(drawn);
    for (std::size_t i = 0; i < drawn.size(); ++i) heads[i] += drawn[i] == 65;
  }
  EXPECT_EQ(different.size(), kPrompts);
  for (const std::size_t count : heads) EXPECT_NEAR(static_cast<double>(count), 200.0, 50.0);  // five standard deviations
  for (const std::size_t i : {0u, 1u, 399u}) EXPECT_EQ(first(requests[i]).token_ids, outputs[i].completions[0].token_ids);
}

TEST_F(Parameters, EqualPromptsDrawFromTheSubsequencesThatTheyName) {
  Request many = toss({1, 2, 3}, 30);
  many.n = 3;
  const RequestOutput together = generator_.generate(many);
  std::vector<Request> requests(3, toss({1, 2, 3}, 30));
  for (std::uint32_t i = 0; i < 3; ++i) requests[i].first_subsequence = i;
  const std::vector<RequestOutput> apart = generator_.generate(requests);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(apart[i].completions[0].token_ids, together.completions[i].token_ids);
    EXPECT_EQ(apart[i].completions[0].subsequence, i);
  }
  EXPECT_NE(together.completions[0].token_ids, together.completions[1].token_ids);
  requests[0].first_subsequence = 0xffffffff;
  EXPECT_EQ(first(requests[0]).subsequence, 0xffffffff);
  requests[0].n = 2;
  EXPECT_THROW(first(requests[0]), InvalidArgument);
}

TEST_F(Parameters, MinTokensKeepsStopTokensAndStopStringsAway) {
  Request with = request();
  const Completion free = first(with);
  with.stop_token_ids = {free.token_ids[3]};
  EXPECT_EQ(first(with).token_ids.size(), 4u);
  with.min_tokens = 10;
  const Completion stopped = first(with);
  EXPECT_GE(stopped.token_ids.size(), 10u);
  const auto begin = stopped.token_ids.begin();
  EXPECT_EQ(std::count(begin, begin + 10, with.stop_token_ids[0]), 0);

  Request by_string = request();
  by_string.stop = {free.text.substr(0, 1)};
  EXPECT_LT(first(by_string).token_ids.size(), 8u);
  by_string.min_tokens = 8;
  const Completion later = first(by_string);
  EXPECT_GE(later.token_ids.size(), 8u);
  EXPECT_TRUE(std::equal(later.token_ids.begin(), later.token_ids.end(), free.token_ids.begin()));
}

TEST_F(Parameters, IncludeStopKeepsTheStopStringInTheText) {
  Request with = request();
  const std::string text = first(with).text;
  const std::string stop = text.substr(6, 3);
  ASSERT_EQ(text.find(stop), 6u);
  with.stop = {stop};
  EXPECT_EQ(first(with).text, text.substr(0, 6));
  EXPECT_EQ(first(with).stop_string, stop);
  with.include_stop = true;
  EXPECT_EQ(first(with).text, text.substr(0, 9));
  EXPECT_EQ(first(with).finish_reason, FinishReason::stop_string);
}

// What may begin the stop string is withheld, and so is the first byte of a character that never ends.
TEST_F(Parameters, WithheldTextComesInOrder) {
  const Tokens forced = {'a', 's', 't', 0xE2};
  Request with = request(4);
  with.stop = {"stop"};
  with.constraint = [&](const CompletionContext& context, TokenEdit& edit) {
    edit.add_bias(forced.at(context.output.size()), 1000.0f);
  };
  std::string shown;
  Callbacks callbacks;
  callbacks.on_token = [&](const TokenEvent& event) { return shown += event.text, true; };
  const Completion all = generator_.generate(with, callbacks).completions.at(0);
  EXPECT_EQ(all.token_ids, forced);
  EXPECT_EQ(all.text, "ast\xE2");
  EXPECT_EQ(shown, "ast\xE2");
}

TEST_F(Parameters, AStopStringThatSpellsASpecialTokenStopsThere) {
  Request with = request();
  with.stop = {"<|im_start|>"};
  with.constraint = [](const CompletionContext& context, TokenEdit& edit) {
    if (context.output.size() == 4) edit.add_bias(260, 1000.0f);
  };
  const Completion stopped = first(with);
  EXPECT_EQ(stopped.token_ids.size(), 5u);
  EXPECT_EQ(stopped.token_ids.back(), 260);
  EXPECT_EQ(stopped.finish_reason, FinishReason::stop_token);
  with.stop = {"im_start"};  // is no token
  EXPECT_EQ(first(with).token_ids.size(), 20u);
}

TEST_F(Parameters, BannedTokensAreNeverDrawn) {
  Request with = request();
  for (TokenId t = 0; t < 200; ++t) with.banned_token_ids.push_back(t);
  for (const TokenId token : first(with).token_ids) EXPECT_GE(token, 200);
  with.allowed_token_ids = {199, 230};
  for (const TokenId token : first(with).token_ids) EXPECT_EQ(token, 230);
}

TEST_F(Parameters, ConstraintsSeeTheHistoryAndDecideWhatMayBeDrawn) {
  Request with = request(12);
  std::vector<std::size_t> sizes;
  with.constraint = [&](const CompletionContext& context, TokenEdit& edit) {
    sizes.push_back(context.output.size());
    EXPECT_EQ(context.prompt.size(), 5u);
    std::ranges::fill(edit.allowed(), 0u);
    const auto next = static_cast<std::size_t>(context.output.size() + 70);
    edit.allowed()[next / 32] |= 1u << next % 32;
  };
  Tokens expected(12);
  std::iota(expected.begin(), expected.end(), 70);
  EXPECT_EQ(first(with).token_ids, expected);
  std::vector<std::size_t> steps(12);
  std::iota(steps.begin(), steps.end(), 0u);
  EXPECT_EQ(sizes, steps);

  with.constraint = [](const CompletionContext&, TokenEdit& edit) { edit.add_bias(99, 1000.0f); };
  EXPECT_EQ(first(with).token_ids, Tokens(12, 99));
  with.constraint = [](const CompletionContext&, TokenEdit& edit) { std::ranges::fill(edit.allowed(), 0u); };
  EXPECT_EQ(first(with).finish_reason, FinishReason::invalid_logits);
}

TEST_F(Parameters, AConstraintStartsFromWhatTheRequestAllows) {
  Request with = request(12);
  with.allowed_token_ids = {65, 66, 67};
  with.constraint = [](const CompletionContext&, TokenEdit& edit) { edit.allowed()[66 / 32] &= ~(1u << 66 % 32); };
  for (const TokenId token : first(with).token_ids) EXPECT_TRUE(token == 65 || token == 67) << token;
}

TEST_F(Parameters, LogitsProcessorsEditTheRowThatIsDrawnFrom) {
  Request with = request(12);
  with.logits_processor = [](const CompletionContext& context, std::span<float> logits) {
    EXPECT_EQ(logits.size(), 262u);
    logits[200 + context.output.size()] = 1000.0f;
  };
  Tokens expected(12);
  std::iota(expected.begin(), expected.end(), 200);
  EXPECT_EQ(first(with).token_ids, expected);
  // One that changes nothing changes nothing, and neighbours without one are as they were.
  const Completion plain = first(request());
  Request idle = request();
  idle.logits_processor = [](const CompletionContext&, std::span<float>) {};
  const std::vector<Request> both = {idle, request(), with};
  const auto outputs = generator_.generate(both);
  test::expect_same(outputs[0].completions[0], plain, "with an idle processor");
  test::expect_same(outputs[1].completions[0], plain, "beside processors");
  EXPECT_EQ(outputs[2].completions[0].token_ids, expected);
}

// As guidance by a second prompt does.
TEST_F(Parameters, ALogitsProcessorMayRunTheModel) {
  Request plain = request(6);
  const Completion want = first(plain);
  const auto nested = std::make_shared<std::vector<Completion>>();
  Request with = plain;
  with.logits_processor = [model = model_, plain, nested](const CompletionContext&, std::span<float>) {
    nested->push_back(generate(model, plain).completions.at(0));
  };
  // Of a thread that may be left behind, so that the test fails where it would hang.
  const auto done = std::make_shared<std::promise<Completion>>();
  std::future<Completion> result = done->get_future();
  std::thread([model = model_, with, done] {
    Generator generator(model, {.kv_cache_tokens = 256});
    done->set_value(generator.generate(with).completions.at(0));
  }).detach();
  ASSERT_EQ(result.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  test::expect_same(result.get(), want, "beside another");
  ASSERT_EQ(nested->size(), 6u);
  for (const Completion& completion : *nested) test::expect_same(completion, want, "within a step");
}

TEST_F(Parameters, AnExceptionOfACallbackEndsItsRequestAlone) {
  Request bad = request(), worse = request();
  bad.constraint = [](const CompletionContext& context, TokenEdit&) {
    if (context.output.size() == 3) throw std::runtime_error("no grammar");
  };
  worse.logits_processor = [](const CompletionContext& context, std::span<float>) {
    if (context.output.size() == 5) throw 7;
  };
  const std::vector<Request> all = {request(), bad, worse};
  const auto outputs = generator_.generate(all);
  test::expect_same(outputs[0].completions[0], first(request()), "the neighbour");
  EXPECT_EQ(outputs[1].completions[0].finish_reason, FinishReason::error);
  EXPECT_EQ(outputs[1].completions[0].token_ids.size(), 3u);
  EXPECT_EQ(outputs[1].error, "constraint: no grammar");
  EXPECT_EQ(outputs[2].completions[0].token_ids.size(), 5u);
  EXPECT_THAT(outputs[2].error, HasSubstr("logits_processor"));
}

TEST_F(Parameters, EchoBeginsWithThePrompt) {
  Request with = request(6);
  with.prompt = "in the house";
  const std::string text = first(with).text;
  with.echo = true;
  EXPECT_EQ(first(with).text, "in the house" + text);
  with.max_tokens = 0;
  EXPECT_EQ(first(with).text, "in the house");
  EXPECT_EQ(first(with).finish_reason, FinishReason::length);
  with.prompt = Tokens{65, 66};
  std::string pieces;
  generator_.generate(with, {.on_token = [&](const TokenEvent& event) { return pieces += event.text, true; },
                             .should_abort = {},
                             .on_output = {}});
  EXPECT_EQ(pieces, model_->tokenizer()->decode(Tokens{65, 66}));
}

TEST_F(Parameters, PromptLogprobsAreTheScores) {
  Request with = request(4);
  Tokens prompt(150);
  std::iota(prompt.begin(), prompt.end(), 20);
  with.prompt = prompt;
  with.n = 2;
  const auto plain = generator_.generate(with);
  with.prompt_logprobs = true;
  const RequestOutput output = generator_.generate(with);
  EXPECT_EQ(output.prompt_logprobs, score(model_, prompt).logprobs);
  EXPECT_EQ(output.prompt_logprobs.size(), 149u);
  EXPECT_EQ(output.cached_tokens, 0);  // although it was there
  for (std::size_t i = 0; i < 2; ++i) test::expect_same(output.completions[i], plain.completions[i], "with prompt_logprobs");
}

TEST_F(Parameters, ProcessedLogprobsAreOfTheDistributionThatIsDrawnFrom) {
  Request with = request();
  with.sampling = {.temperature = 0.7f, .top_k = 5, .seed = 3};
  with.logprobs = true;
  with.top_logprobs = 8;
  const Completion raw = first(with);
  with.logprobs_mode = LogprobsMode::processed;
  const Completion processed = first(with);
  EXPECT_EQ(raw.token_ids, processed.token_ids);
  for (std::size_t i = 0; i < raw.token_ids.size(); ++i) {
    const auto& top = processed.top_logprobs[i];
    ASSERT_EQ(top.size(), 5u);  // top-k kept five
    ASSERT_EQ(raw.top_logprobs[i].size(), 8u);
    double sum = 0.0, expected_sum = 0.0;
    for (std::size_t k = 0; k < 5; ++k) {
      EXPECT_EQ(top[k].token, raw.top_logprobs[i][k].token);
      sum += std::exp(top[k].logprob);
      expected_sum += std::exp(raw.top_logprobs[i][k].logprob / 0.7);
    }
    EXPECT_NEAR(sum, 1.0, 1e-6);
    for (std::size_t k = 0; k < 5; ++k) {
      EXPECT_NEAR(top[k].logprob, raw.top_logprobs[i][k].logprob / 0.7 - std::log(expected_sum), 1e-5);
      if (top[k].token == processed.token_ids[i]) {
        EXPECT_EQ(top[k].logprob, processed.logprobs[i]);
      }
    }
  }
  with.sampling.temperature = 0.0f;
  const Completion greedy = first(with);
  EXPECT_EQ(greedy.logprobs, std::vector<double>(20, 0.0));
  EXPECT_EQ(greedy.top_logprobs[0].size(), 1u);
}

TEST_F(Parameters, BestOfGivesTheLikeliestCompletions) {
  Request all = request(10);
  all.n = 6;
  all.logprobs = true;
  std::vector<Completion> candidates = generator_.generate(all).completions;
  const auto mean = [](const Completion& c) {
    return std::accumulate(c.logprobs.begin(), c.logprobs.end(), 0.0) / static_cast<double>(c.logprobs.size());
  };
  std::ranges::stable_sort(candidates, std::greater(), mean);
  Request best = request(10);
  best.n = 2;
  best.best_of = 6;
  std::vector<std::string> pieces(2);
  int ends = 0;
  const RequestOutput output = generator_.generate(best, {.on_token =
                                                              [&](const TokenEvent& event) {
                                                                pieces.at(event.index) += event.text;
                                                                ends += event.finish_reason != FinishReason::running;
                                                                return true;
                                                              },
                                                          .should_abort = {},
                                                          .on_output = {}});
  ASSERT_EQ(output.completions.size(), 2u);
  for (std::uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(output.completions[i].token_ids, candidates[i].token_ids);
    EXPECT_EQ(output.completions[i].index, i);
    EXPECT_EQ(output.completions[i].text, pieces[i]);
    EXPECT_TRUE(output.completions[i].logprobs.empty());
  }
  EXPECT_EQ(ends, 2);
}

// Its events come at the end, when all of its sequences have ended already.
TEST_F(Parameters, ACallbackThatThrowsAtBestOfsEventsLeavesNothingBehind) {
  const Completion want = first(request());
  Request best = request(10);
  best.best_of = 3;
  Callbacks callbacks;
  callbacks.on_token = [](const TokenEvent&) -> bool { throw std::runtime_error("full"); };
  EXPECT_THROW(generator_.generate(best, callbacks), std::runtime_error);
  test::expect_same(first(request()), want, "after an exception");
}

TEST_F(Parameters, OutputsComeAsTheirRequestsEnd) {
  std::vector<Request> requests = {request(20), request(5), request(10)};
  std::vector<std::uint64_t> order;
  std::vector<Tokens> tokens;
  bool last = false;
  Callbacks callbacks;
  callbacks.on_token = [&](const TokenEvent& event) { return last = event.last, true; };
  callbacks.on_output = [&](std::uint64_t request, const RequestOutput& output) {
    EXPECT_TRUE(last);
    order.push_back(request);
    tokens.push_back(output.completions.at(0).token_ids);
  };
  const auto outputs = generator_.generate(requests, callbacks);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 0}));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(tokens[i], outputs[order[i]].completions[0].token_ids);
  // One that throws ends the call and leaves nothing behind.
  callbacks.on_output = [](std::uint64_t, const RequestOutput&) { throw std::runtime_error("full"); };
  EXPECT_THROW(generator_.generate(requests, callbacks), std::runtime_error);
  test::expect_same(generator_.generate(requests)[2].completions[0], outputs[2].completions[0], "after an exception");
}

TEST_F(Parameters, ZeroTokensOnlyFillTheCache) {
  Request with = request(0);
  with.prompt = Tokens(100, 7);
  const RequestOutput output = generator_.generate(with);
  EXPECT_TRUE(output.completions[0].token_ids.empty());
  EXPECT_EQ(output.completions[0].finish_reason, FinishReason::length);
  EXPECT_EQ(generator_.cached_tokens(), 96);
  with.max_tokens = 1;
  EXPECT_EQ(generator_.generate(with).cached_tokens, 96);
}

TEST_F(Parameters, WhatIsOutOfRangeIsNamed) {
  const auto refusal = [&](const auto& change) {
    Request with = request();
    change(with);
    try {
      generator_.generate(with);
    } catch (const InvalidArgument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal([](Request& r) { r.max_tokens = -1; }), HasSubstr("max_tokens is -1"));
  EXPECT_THAT(refusal([](Request& r) { r.min_tokens = 21; }), HasSubstr("min_tokens is 21"));
  EXPECT_THAT(refusal([](Request& r) { r.n = 3, r.best_of = 2; }), HasSubstr("best_of is 2"));
  EXPECT_THAT(refusal([](Request& r) { r.priority = 1001; }), HasSubstr("priority is 1001"));
  EXPECT_THAT(refusal([](Request& r) { r.deadline = -1; }), HasSubstr("deadline is -1"));
  EXPECT_THAT(refusal([](Request& r) { r.deadline = std::nan(""); }), HasSubstr("deadline is nan"));
  EXPECT_THAT(refusal([](Request& r) { r.banned_token_ids = {262}; }), HasSubstr("banned_token_ids: token 262"));
}

}  // namespace
}  // namespace warploom
