// The Engine as applications see it: threads, events, ends.
#include "warploom/engine.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/tiny_model.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using Tokens = std::vector<TokenId>;
using namespace std::chrono_literals;

class Serving : public testing::Test {
 protected:
  Serving() : file_(test::tiny_model()), model_(Model::load(file_.path())) {}

  static EngineOptions small() {
    EngineOptions options;
    options.kv_cache_tokens = 2048;
    options.check_blocks = true;
    return options;
  }
  static EngineOptions stepped() {
    EngineOptions options = small();
    options.own_thread = false;
    return options;
  }
  static Request request(std::int64_t max_tokens = 20, TokenId start = 10) {
    Request request;
    request.prompt = Tokens{start, 20, 30};
    request.max_tokens = max_tokens;
    request.sampling.seed = 5;
    request.ignore_eos = true;
    request.logprobs = true;
    return request;
  }
  Completion alone(const Request& request) { return generate(model_, request).completions.at(0); }

  test::TemporaryModel file_;
  std::shared_ptr<const Model> model_;
};

TEST_F(Serving, EventsOfAHandleAreTheOutput) {
  Engine engine(model_, small());
  RequestHandle handle = engine.submit(request());
  Tokens tokens;
  std::string text;
  bool last = false;
  while (!last)
    for (const TokenEvent& event : handle.events().await(10s)) {
      EXPECT_EQ(event.request, handle.id());
      tokens.push_back(event.token);
      text += event.text;
      last = event.last;
      EXPECT_EQ(last, event.finish_reason != FinishReason::running);
      EXPECT_LE(event.logprob, 0.0);
    }
  const RequestOutput& output = handle.output();
  EXPECT_TRUE(handle.finished());
  EXPECT_EQ(tokens, output.completions[0].token_ids);
  EXPECT_EQ(text, output.completions[0].text);
  test::expect_same(output.completions[0], alone(request()), "in an engine");
  EXPECT_TRUE(handle.events().poll().empty());
  EXPECT_TRUE(handle.events().await(0s).empty());
}

TEST_F(Serving, CallbacksRunOnTheEnginesThreadAndMayCallTheEngine) {
  Engine engine(model_, small());
  std::atomic<int> events = 0;
  std::set<std::thread::id> threads;
  std::optional<RequestHandle> second;
  std::string refusals;
  RequestHandle first = engine.submit(request(), [&](const TokenEvent& event) {
    threads.insert(std::this_thread::get_id());
    ++events;
    if (events == 3) second = engine.submit(request(7, 11));
    for (const auto& call : {std::function<void()>([&] { engine.step(); }), std::function<void()>([&] { engine.drain(); }),
                             std::function<void()>([&] { engine.shutdown(); })})
      try {
        call();
      } catch (const InvalidArgument& error) {
        refusals = error.what();
      }
    return event.token >= 0;
  });
  first.output();
  EXPECT_EQ(events, 20);
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
  EXPECT_THAT(refusals, HasSubstr("callback"));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->output().completions[0].token_ids.size(), 7u);
}

TEST_F(Serving, ACallbackMayDestroyTheEngine) {
  for (const bool own_thread : {true, false}) {
    EngineOptions options = small();
    options.own_thread = own_thread;
    auto engine = std::make_unique<Engine>(model_, options);
    std::atomic<bool> submitted = false, destroyed = false;
    const RequestHandle first = engine->submit(request(200), [&](const TokenEvent&) {
      submitted.wait(false);
      if (!destroyed.exchange(true)) engine.reset();
      return true;
    });
    const RequestHandle other = engine->submit(request(200));
    submitted = true;
    submitted.notify_all();
    if (!own_thread) {
      for (Engine* stepped = engine.get(); !destroyed;) stepped->step();
    }
    for (const RequestHandle& handle : {first, other}) {
      ASSERT_TRUE(handle.await_output(Seconds(20)));
      EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::shutdown);
    }
  }
}

TEST_F(Serving, ACallbackMayDestroyTheEngineThatADrainRuns) {
  auto engine = std::make_unique<Engine>(model_, stepped());
  const RequestHandle first = engine->submit(request(200), [&](const TokenEvent&) {
    std::this_thread::sleep_for(20ms);  // the drain gives up behind it
    engine.reset();
    return true;
  });
  const RequestHandle other = engine->submit(request(200));
  engine->drain(10ms);
  for (const RequestHandle& handle : {first, other}) {
    ASSERT_TRUE(handle.await_output(0s));
    EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::shutdown);
  }
}

TEST_F(Serving, ACallbackEndsItsCompletionAndStillGetsItsLastEvent) {
  Engine engine(model_, stepped());
  std::vector<FinishReason> reasons;
  const RequestHandle handle = engine.submit(request(), [&](const TokenEvent& event) {
    reasons.push_back(event.finish_reason);
    return reasons.size() < 4;
  });
  while (engine.step()) {
  }
  using enum FinishReason;
  EXPECT_EQ(reasons, (std::vector{running, running, running, running, cancelled}));
  EXPECT_EQ(handle.output().completions[0].token_ids.size(), 4u);
}

TEST_F(Serving, AnExceptionOfACallbackEndsItsRequestAlone) {
  Engine engine(model_, small());
  std::atomic<int> calls = 0;
  const RequestHandle bad = engine.submit(request(), [&](const TokenEvent&) -> bool {
    if (++calls == 5) throw std::runtime_error("disk full");
    return true;
  });
  const RequestHandle good = engine.submit(request(30));
  EXPECT_EQ(bad.output().completions[0].finish_reason, FinishReason::error);
  EXPECT_EQ(bad.output().error, "on_token: disk full");
  EXPECT_EQ(calls, 5);
  test::expect_same(good.output().completions[0], alone(request(30)), "beside one that failed");
  engine.drain();
  EXPECT_EQ(engine.stats().kv_cache_usage, 0.0);
}

TEST_F(Serving, ACancelledRequestKeepsWhatItHas) {
  Engine engine(model_, stepped());
  const RequestHandle running = engine.submit(request(100));
  for (int i = 0; i < 5; ++i) engine.step();
  const RequestHandle waiting = engine.submit(request());
  running.cancel();
  engine.cancel(waiting.id());
  engine.cancel(12345);
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(running.output().completions[0].finish_reason, FinishReason::cancelled);
  EXPECT_EQ(running.output().completions[0].token_ids.size(), 5u);
  EXPECT_EQ(waiting.output().completions[0].finish_reason, FinishReason::cancelled);
  EXPECT_TRUE(waiting.output().completions[0].token_ids.empty());
}

TEST_F(Serving, WhatIsWrongIsRefusedAtOnce) {
  Engine engine(model_, small());
  EXPECT_THROW(engine.submit({}), InvalidArgument);  // an empty prompt
  Request wrong = request();
  wrong.sampling.top_p = 0.0f;
  EXPECT_THROW(engine.submit(wrong), InvalidArgument);
  wrong = request();
  wrong.prompt = Tokens(300, 1);  // the context holds 256
  EXPECT_THROW(engine.submit(wrong), InvalidArgument);
  EXPECT_THROW(Engine(nullptr), InvalidArgument);
  EngineOptions options = small();
  options.max_queued_requests = -1;
  EXPECT_THROW(Engine(model_, options), InvalidArgument);
  EXPECT_THROW(engine.step(), InvalidArgument);  // it has its own thread
  EXPECT_EQ(engine.submit(request()).output().completions[0].token_ids.size(), 20u);
}

TEST_F(Serving, AFullQueueIsAValue) {
  EngineOptions options = stepped();
  options.max_queued_requests = 3;
  Engine engine(model_, options);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine.try_submit(request()));
  EXPECT_FALSE(engine.try_submit(request()));
  EXPECT_THROW(engine.submit(request()), QueueFull);
  EXPECT_EQ(engine.stats().num_requests_waiting, 3);
  EXPECT_EQ(engine.stats().refused_requests, 2u);
  engine.step();  // now they run
  EXPECT_EQ(engine.stats().num_requests_waiting, 0);
  EXPECT_EQ(engine.stats().num_requests_running, 3);
  EXPECT_TRUE(engine.try_submit(request()));
}

// A request of more completions than may run at once: some wait, but the request does not.
TEST_F(Serving, ARequestThatHasBegunWaitsNoMore) {
  EngineOptions options = stepped();
  options.max_num_seqs = 2;
  options.max_queued_requests = 1;
  options.iteration_stats_capacity = 1;
  Engine engine(model_, options);
  Request many = request();
  many.n = 5;
  const RequestHandle begun = engine.submit(many);
  EXPECT_EQ(engine.stats().num_requests_waiting, 1);
  for (int step = 0; step < 3; ++step) {
    engine.step();
    EXPECT_EQ(engine.stats().num_requests_waiting, 0);
    EXPECT_EQ(engine.stats().num_requests_running, 1);
    EXPECT_EQ(engine.take_iteration_stats().at(0).num_waiting, 0);
  }
  const std::optional<RequestHandle> next = engine.try_submit(request());
  ASSERT_TRUE(next);
  engine.step();
  EXPECT_EQ(engine.stats().num_requests_waiting, 1);
  EXPECT_FALSE(engine.try_submit(request()));
  begun.cancel();
  engine.step();
  EXPECT_EQ(engine.stats().num_requests_waiting, 0);
  EXPECT_EQ(engine.stats().num_requests_running, 1);
  ASSERT_TRUE(engine.drain());
  EXPECT_EQ(next->output().completions[0].finish_reason, FinishReason::length);
  EXPECT_EQ(engine.stats().num_requests_waiting, 0);
}

TEST_F(Serving, AFullQueueIsFullDuringAStepToo) {
  EngineOptions options = stepped();
  options.max_queued_requests = 2;
  Engine engine(model_, options);
  int refused = 0;
  std::int64_t most = 0;
  const OnToken submit_more = [&](const TokenEvent&) {
    refused += !engine.try_submit(request());
    most = std::max(most, engine.stats().num_requests_waiting);
    return true;
  };
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(engine.try_submit(request(1), submit_more));
  engine.step();
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(most, 2);
  EXPECT_TRUE(engine.try_submit(request()));
}

TEST_F(Serving, WaitingInACallbackIsRefused) {
  Engine engine(model_, small());
  std::optional<RequestHandle> other;
  const RequestHandle waits = engine.submit(request(), [&](const TokenEvent&) {
    other = engine.submit(request(200));  // cannot have ended before the callback has
    return other->output().error.empty();
  });
  EXPECT_EQ(waits.output().completions[0].finish_reason, FinishReason::error);
  EXPECT_THAT(waits.output().error, HasSubstr("must not be called in a callback"));
  ASSERT_TRUE(other);
  EXPECT_EQ(other->output().completions[0].token_ids.size(), 200u);
  // What has ended may be looked at.
  const RequestHandle looks = engine.submit(request(), [&](const TokenEvent&) { return other->output().error.empty(); });
  EXPECT_EQ(looks.output().completions[0].finish_reason, FinishReason::length);
}

TEST_F(Serving, TheErrorSaysWhyNothingWasDrawn) {
  Engine engine(model_, small());
  Request with = request();
  with.constraint = [](const CompletionContext&, TokenEdit& edit) { std::ranges::fill(edit.allowed(), 0u); };
  EXPECT_THAT(engine.submit(with).output().error, HasSubstr("banned tokens and constraint"));
  with = request();
  with.logits_processor = [](const CompletionContext&, std::span<float> logits) { logits[3] = NAN; };
  const RequestHandle handle = engine.submit(with);
  EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::invalid_logits);
  EXPECT_THAT(handle.output().error, HasSubstr("NaN or +infinity, after the logits processor"));
  EngineOptions tiny = small();
  tiny.kv_cache_tokens = 32;
  Engine small_engine(model_, tiny);
  with = request();
  with.prompt = Tokens(100, 7);
  EXPECT_THAT(small_engine.submit(with).output().error,
              HasSubstr("the KV cache of 32 tokens cannot hold a sequence of 100"));
  EXPECT_EQ(engine.submit(request()).output().error, "");
}

TEST_F(Serving, CancellingKeepsTheErrorOfAnEarlierCompletion) {
  Engine engine(model_, stepped());
  Request with = request(50);
  with.n = 2;
  with.constraint = [](const CompletionContext& context, TokenEdit& edit) {
    if (context.index == 0 && context.output.size() == 2) std::ranges::fill(edit.allowed(), 0u);
  };
  const RequestHandle handle = engine.submit(with);
  for (int i = 0; i < 10; ++i) engine.step();
  handle.cancel();
  engine.step();
  ASSERT_TRUE(handle.finished());
  EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::invalid_logits);
  EXPECT_EQ(handle.output().completions[1].finish_reason, FinishReason::cancelled);
  EXPECT_THAT(handle.output().error, HasSubstr("no token may be drawn"));
}

TEST_F(Serving, UrgentRequestsOvertakeWithinTheWindow) {
  EngineOptions options = stepped();
  options.max_num_seqs = 1;
  options.priority_window = 2;
  Engine engine(model_, options);
  std::vector<int> order;
  std::vector<RequestHandle> handles;
  const auto submit = [&](int priority) {
    Request r = request(2);
    r.priority = priority;
    handles.push_back(engine.submit(r, [&order, which = static_cast<int>(handles.size())](const TokenEvent& event) {
      if (event.last) order.push_back(which);
      return true;
    }));
  };
  submit(0), submit(0), submit(0);
  for (int i = 0; i < 4; ++i) submit(-1);
  while (engine.step()) {
  }
  // 0: order 1; 3 (-1): 4 - 2 = 2, behind 1 of the same order that came first; 4: 3, behind 2; then 5 and 6.
  EXPECT_EQ(order, (std::vector{0, 1, 3, 2, 4, 5, 6}));
}

TEST_F(Serving, DrainFinishesWhatIsThereAndRefusesTheRest) {
  for (const bool own_thread : {true, false}) {
    EngineOptions options = small();
    options.own_thread = own_thread;
    Engine engine(model_, options);
    std::vector<RequestHandle> handles;
    for (TokenId i = 0; i < 10; ++i) handles.push_back(engine.submit(request(15, i)));
    EXPECT_TRUE(engine.drain());
    for (const RequestHandle& handle : handles) {
      EXPECT_TRUE(handle.finished());
      EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::length);
    }
    EXPECT_THROW(engine.submit(request()), EngineStopped);
    EXPECT_TRUE(engine.drain(0s));
  }
}

TEST_F(Serving, DrainGivesUpAfterItsTimeout) {
  Engine engine(model_, stepped());
  const RequestHandle handle = engine.submit(request(200));
  EXPECT_FALSE(engine.drain(0s));
  EXPECT_FALSE(handle.finished());
  EXPECT_FALSE(handle.await_output(1ms));
  EXPECT_TRUE(engine.drain());
}

TEST_F(Serving, ShutdownEndsEverythingWithAReason) {
  std::vector<RequestHandle> handles;
  std::vector<TokenEvent> first;
  {
    Engine engine(model_, small());
    for (TokenId i = 0; i < 50; ++i) handles.push_back(engine.submit(request(200, i)));
    first = handles[0].events().await(10s);  // it runs, and may have ended
    engine.shutdown();
    EXPECT_THROW(engine.submit(request()), EngineStopped);
    engine.shutdown();
  }
  for (RequestHandle& handle : handles) {
    ASSERT_TRUE(handle.finished());
    const FinishReason reason = handle.output().completions[0].finish_reason;
    EXPECT_TRUE(reason == FinishReason::shutdown || reason == FinishReason::length) << name(reason);
    auto events = handle.events().poll();
    if (&handle == &handles[0]) events.insert(events.begin(), first.begin(), first.end());
    ASSERT_FALSE(events.empty());
    EXPECT_TRUE(events.back().last);
    handle.cancel();  // the engine is gone
  }
}

TEST_F(Serving, OneQueueServesManyRequests) {
  Engine engine(model_, small());
  EventQueue queue;
  std::map<RequestId, std::string> texts;
  std::vector<RequestHandle> handles;
  for (TokenId i = 0; i < 20; ++i) handles.push_back(engine.submit(request(15, i), queue));
  for (std::size_t ended = 0; ended < handles.size();)
    for (const TokenEvent& event : queue.await(10s)) {
      texts[event.request] += event.text;
      ended += event.last;
    }
  for (const RequestHandle& handle : handles) EXPECT_EQ(texts[handle.id()], handle.output().completions[0].text);
}

TEST_F(Serving, StatsCountWhatHappened) {
  EngineOptions options = stepped();
  options.iteration_stats_capacity = 8;
  Engine engine(model_, options);
  for (TokenId i = 0; i < 4; ++i) engine.submit(request(10, i));
  Request shared = request(10);
  shared.prompt = Tokens(100, 7);
  engine.submit(shared);
  while (engine.step()) {
  }
  engine.submit(shared);
  while (engine.step()) {
  }
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.prompt_tokens, 4u * 3 + 200);
  EXPECT_EQ(stats.queried_prompt_tokens, 4u * 3 + 200);
  EXPECT_EQ(stats.cached_prompt_tokens, 96u);
  EXPECT_EQ(stats.generated_tokens, 60u);
  EXPECT_EQ(stats.computed_tokens, 4u * 3 + 100 + 4 + 6 * 9);
  EXPECT_EQ(stats.finished_completions[static_cast<std::size_t>(FinishReason::length)], 6u);
  EXPECT_EQ(stats.time_to_first_token.count(), 6u);
  EXPECT_EQ(stats.inter_token_latency.count(), 54u);
  EXPECT_EQ(stats.request_latency.count(), 6u);
  EXPECT_EQ(stats.request_inference_time.count(), 6u);
  EXPECT_EQ(stats.request_prefill_time.count(), 6u);
  EXPECT_EQ(stats.request_time_per_output_token.count(), 6u);
  EXPECT_NEAR(stats.request_prefill_time.sum() + stats.request_decode_time.sum(), stats.request_inference_time.sum(), 1e-9);
  EXPECT_NEAR(stats.queue_time.sum() + stats.request_inference_time.sum(), stats.request_latency.sum(), 1e-9);
  EXPECT_EQ(stats.request_prompt_tokens.sum(), 4 * 3 + 200);
  EXPECT_EQ(stats.request_generated_tokens.sum(), 60);
  EXPECT_EQ(stats.queue_time.count(), 6u);
  EXPECT_EQ(stats.steps, 20u);
  const auto steps = engine.take_iteration_stats();
  ASSERT_EQ(steps.size(), 8u);
  EXPECT_EQ(steps.back().step, 20u);
  EXPECT_EQ(steps.back().num_generated, 1);
  EXPECT_GE(steps.back().seconds, steps.back().model_seconds);
  EXPECT_TRUE(engine.take_iteration_stats().empty());

  const std::string text = prometheus_text(stats, "a \"tiny\" model");
  EXPECT_THAT(text, HasSubstr("# TYPE warploom:generation_tokens_total counter\n"));
  EXPECT_THAT(text, HasSubstr("warploom:generation_tokens_total{model_name=\"a \\\"tiny\\\" model\"} 60\n"));
  EXPECT_THAT(text, HasSubstr("warploom:request_success_total{model_name=\"a \\\"tiny\\\" "
                              "model\",finished_reason=\"length\",reason=\"length\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("warploom:time_to_first_token_seconds_count{model_name=\"a \\\"tiny\\\" model\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("warploom:request_generation_tokens_sum{model_name=\"a \\\"tiny\\\" model\"} 60\n"));

  shared.prompt_logprobs = true;  // all of its prompt is computed, whatever the cache holds
  engine.submit(shared);
  while (engine.step()) {
  }
  EXPECT_EQ(engine.stats().prompt_tokens, 4u * 3 + 300);
  EXPECT_EQ(engine.stats().queried_prompt_tokens, 4u * 3 + 200);

  engine.submit(request(1));  // whose first token is its last
  while (engine.step()) {
  }
  EXPECT_EQ(engine.stats().time_to_first_token.count(), 8u);
  EXPECT_EQ(engine.stats().inter_token_latency.count(), 63u);
  EXPECT_EQ(engine.stats().request_time_per_output_token.count(), 7u);
}

TEST_F(Serving, EndingRequestsIsNoStep) {
  EngineOptions options = stepped();
  options.iteration_stats_capacity = 8;
  Engine engine(model_, options);
  Request late = request();
  late.deadline = 1e-9;
  const RequestHandle handle = engine.submit(late);
  std::this_thread::sleep_for(1ms);
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::deadline);
  EXPECT_EQ(engine.stats().steps, 0u);
  EXPECT_TRUE(engine.take_iteration_stats().empty());
}

// What a preempted sequence finds again of its own is no hit.
TEST_F(Serving, PreemptionsAreNoHitsOfThePrefixCache) {
  EngineOptions options = stepped();
  options.kv_cache_tokens = 256;
  Engine engine(model_, options);
  std::vector<RequestHandle> handles;
  for (TokenId i = 0; i < 3; ++i) {
    Request with = request(80);
    with.prompt = Tokens(48, i);
    handles.push_back(engine.submit(with));
  }
  ASSERT_TRUE(engine.drain());
  const EngineStats stats = engine.stats();
  EXPECT_GT(stats.preemptions, 0u);
  EXPECT_EQ(stats.prompt_tokens, 3u * 48);
  EXPECT_EQ(stats.queried_prompt_tokens, 3u * 48);
  EXPECT_EQ(stats.cached_prompt_tokens, 0u);
  for (const RequestHandle& handle : handles) EXPECT_EQ(handle.output().cached_tokens, 0);
}

TEST_F(Serving, KvCacheEventsTellWhichPrefixesAreHeld) {
  EngineOptions options = stepped();
  options.kv_cache_tokens = 16 * 12;
  options.kv_cache_events_capacity = 1000;
  Engine engine(model_, options);
  std::map<std::uint64_t, Tokens> held;
  std::uint64_t last_id = 0;
  const auto follow = [&] {
    for (const KvCacheEvent& event : engine.take_kv_cache_events()) {
      EXPECT_EQ(event.id, ++last_id);
      if (event.kind == KvCacheEvent::Kind::stored) {
        EXPECT_EQ(event.hash, prefix_hash(event.parent_hash, event.token_ids));
        EXPECT_TRUE(held.emplace(event.hash, event.token_ids).second);
      } else if (event.kind == KvCacheEvent::Kind::removed) {
        EXPECT_EQ(held.erase(event.hash), 1u);
      } else {
        held.clear();
      }
    }
    EXPECT_EQ(static_cast<std::int64_t>(held.size()), engine.stats().cached_blocks);
  };
  for (TokenId i = 0; i < 12; ++i) {
    Request r = request(20);
    r.prompt = Tokens(60, i % 8);
    engine.submit(r);
    while (engine.step()) {
    }
    follow();
  }
  EXPECT_GT(last_id, 40u);
  const Tokens block(16, 3);
  EXPECT_TRUE(held.contains(prefix_hash(0, block)));
  EXPECT_TRUE(held.contains(prefix_hash(prefix_hash(0, block), block)));
  engine.clear_prefix_cache();
  engine.step();
  follow();
  EXPECT_TRUE(held.empty());
}

TEST_F(Serving, StepsFromTwoThreadsAtOnceAreRefused) {
  Engine engine(model_, stepped());
  std::atomic<bool> inside = false, done = false;
  engine.submit(request(), [&](const TokenEvent&) {
    inside = true;
    while (!done) std::this_thread::yield();
    return true;
  });
  std::jthread stepper([&] { engine.step(); });
  while (!inside) std::this_thread::yield();
  EXPECT_THROW(engine.step(), InvalidArgument);
  done = true;
}

TEST(HistogramOf, QuantilesLieInTheirBuckets) {
  Histogram histogram({1.0, 2.0, 4.0});
  EXPECT_EQ(histogram.quantile(0.5), 0.0);
  for (int i = 0; i < 50; ++i) histogram.add(1.5);
  for (int i = 0; i < 50; ++i) histogram.add(3.0);
  histogram.add(2.0);  // bounds belong to the bucket below them
  EXPECT_EQ(histogram.counts(), (std::vector<std::uint64_t>{0, 51, 50, 0}));
  EXPECT_NEAR(histogram.quantile(0.25), 1.5, 0.02);
  EXPECT_NEAR(histogram.quantile(0.75), 3.0, 0.03);
  EXPECT_EQ(histogram.sum(), 227.0);
}

}  // namespace
}  // namespace warploom
