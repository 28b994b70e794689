// Thousands of requests that differ in everything, from many threads, in a cache where preemption never stops: each must come out as it
// does alone.
#include <atomic>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "support/random_requests.h"
#include "support/tiny_model.h"
#include "warploom/engine.h"
#include "warploom/generator.h"

namespace warploom {
namespace {

constexpr std::uint32_t kRequests = 10000, kThreads = 16;
constexpr test::RandomRequests kKind{.max_prompt = 60, .max_tokens = 24};

/// What happens to a request besides running.
enum class Fate { lives, cancelled, expires };
Fate fate_of(std::uint32_t index) {
  return index % 13 == 5 ? Fate::cancelled : index % 17 == 3 ? Fate::expires : Fate::lives;
}

/// One request's events, checked as they come.
class Seen {
 public:
  void see(const TokenEvent& event) {
    EXPECT_FALSE(last_) << "an event after the last one";
    last_ = event.last;
    Part& part = parts_[event.index];
    EXPECT_EQ(part.reason, FinishReason::running) << "an event after the completion's end";
    part.reason = event.finish_reason;
    part.text += event.text;
    if (event.token >= 0) part.tokens.push_back(event.token);
  }
  void check(const RequestOutput& output, const std::string& what) {
    EXPECT_TRUE(last_) << what;
    ASSERT_EQ(parts_.size(), output.completions.size()) << what;
    for (const Completion& completion : output.completions) {
      const Part& part = parts_.at(completion.index);
      EXPECT_EQ(part.tokens, completion.token_ids) << what;
      EXPECT_EQ(part.text, completion.text) << what;
      EXPECT_EQ(part.reason, completion.finish_reason) << what;
    }
  }

 private:
  struct Part {
    std::vector<TokenId> tokens;
    std::string text;
    FinishReason reason = FinishReason::running;
  };
  std::map<std::uint32_t, Part> parts_;
  bool last_ = false;
};

class Crowd : public testing::Test {
 protected:
  Crowd() : file_(test::tiny_model({.layers = 1, .heads = 2, .kv_heads = 1})), model_(Model::load(file_.path())) {}

  /// Submits requests thread, thread + kThreads, ... and waits for them, each in one of three ways.
  void submit_and_check(Engine& engine, std::uint32_t thread) {
    struct Submitted {
      std::uint32_t index;
      RequestHandle handle;
      std::shared_ptr<Seen> seen;
    };
    std::vector<Submitted> all;
    EventQueue shared;
    std::map<RequestId, std::shared_ptr<Seen>> of_shared;
    for (std::uint32_t i = thread; i < kRequests; i += kThreads) {
      Request request = test::random_request(kKind, 1, i);
      if (fate_of(i) == Fate::expires) request.deadline = 1e-3 * (1 + i % 200);
      auto seen = std::make_shared<Seen>();
      EventReceiver receiver;
      if (i / kThreads % 3 == 1) receiver = shared;
      if (i / kThreads % 3 == 2)
        receiver = [seen](const TokenEvent& event) {
          seen->see(event);
          return true;
        };
      std::optional<RequestHandle> handle = engine.try_submit(request, receiver);
      for (; !handle; handle = engine.try_submit(request, receiver)) {
        ++refused_;
        for (const TokenEvent& event : shared.await(Seconds(0.001))) of_shared.at(event.request)->see(event);
      }
      if (i / kThreads % 3 == 1) of_shared[handle->id()] = seen;
      if (fate_of(i) == Fate::cancelled) handle->cancel();
      all.push_back({i, *handle, seen});
    }
    for (Submitted& s : all) {
      const RequestOutput& output = s.handle.output();
      for (const TokenEvent& event : shared.poll()) of_shared.at(event.request)->see(event);
      for (const TokenEvent& event : s.handle.events().poll())
        (of_shared.contains(event.request) ? of_shared.at(event.request) : s.seen)->see(event);
      s.seen->check(output, "request " + std::to_string(s.index));
      outputs_[s.index] = output;
    }
  }

  test::TemporaryModel file_;
  std::shared_ptr<const Model> model_;
  std::vector<RequestOutput> outputs_ = std::vector<RequestOutput>(kRequests);
  std::atomic<int> refused_ = 0;
};

TEST_F(Crowd, EveryRequestIsWhatItIsAlone) {
  EngineOptions options;
  options.kv_cache_tokens = 16 * 14;  // two sequences at their longest
  options.max_num_seqs = 24;
  options.max_num_batched_tokens = 64;
  options.max_queued_requests = 500;
  options.check_blocks = true;
  options.priority_window = 16;
  Engine engine(model_, options);
  std::vector<std::jthread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { submit_and_check(engine, t); });
  threads.clear();

  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.num_requests_waiting, 0);
  EXPECT_EQ(stats.num_requests_running, 0);
  EXPECT_EQ(stats.num_sequences_running, 0);
  EXPECT_EQ(stats.kv_cache_usage, 0.0);
  EXPECT_GT(stats.preemptions, 1000u);
  EXPECT_GT(stats.cached_prompt_tokens, 1000u);
  EXPECT_GT(refused_, 0);

  Generator alone(model_, {.kv_cache_tokens = 4096, .enable_prefix_caching = false});
  std::map<FinishReason, int> reasons;
  for (std::uint32_t i = 0; i < kRequests && !HasFailure(); ++i) {
    const RequestOutput expected = alone.generate(test::random_request(kKind, 1, i));
    const std::string what = "request " + std::to_string(i);
    ASSERT_EQ(outputs_[i].completions.size(), expected.completions.size()) << what;
    bool ran_on = true;
    for (std::size_t c = 0; c < expected.completions.size(); ++c) {
      const Completion& got = outputs_[i].completions[c];
      ++reasons[got.finish_reason];
      if (got.finish_reason == FinishReason::cancelled || got.finish_reason == FinishReason::deadline) {
        ran_on = false;
        EXPECT_NE(fate_of(i), Fate::lives) << what;
        if (test::random_request(kKind, 1, i).best_of == 0) test::expect_beginning(got, expected.completions[c], what);
      }
    }
    if (ran_on) test::expect_equal(outputs_[i], expected, what);
  }
  for (const FinishReason reason : {FinishReason::stop_token, FinishReason::stop_string, FinishReason::length,
                                    FinishReason::cancelled, FinishReason::deadline})
    EXPECT_GT(reasons[reason], 10) << name(reason);
}

}  // namespace
}  // namespace warploom
