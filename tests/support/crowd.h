// Requests that differ in everything, from many threads, on one engine: each must come out as it does alone.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/random_requests.h"
#include "warploom/engine.h"
#include "warploom/generator.h"

namespace warploom::test {

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

class Crowd {
 public:
  Crowd(const RandomRequests& kind, std::uint32_t seed, std::uint32_t requests, std::uint32_t threads)
      : kind_(kind), seed_(seed), threads_(threads), outputs_(requests) {}

  /// Submits all of them and waits for their ends.
  void run(Engine& engine) {
    std::vector<std::jthread> threads;
    for (std::uint32_t t = 0; t < threads_; ++t) threads.emplace_back([this, &engine, t] { submit_and_check(engine, t); });
  }
  int refused() const { return refused_; }

  /// Runs them again, one by one; returns how many completions of the crowd ended for each reason.
  std::map<FinishReason, int> compare_with(Generator& alone) {
    std::map<FinishReason, int> reasons;
    for (std::uint32_t i = 0; i < outputs_.size() && !testing::Test::HasFailure(); ++i) {
      const Request request = random_request(kind_, seed_, i);
      const RequestOutput expected = alone.generate(request);
      const std::string what = "request " + std::to_string(i);
      EXPECT_EQ(outputs_[i].completions.size(), expected.completions.size()) << what;
      bool ran_on = true;
      for (std::size_t c = 0; c < expected.completions.size(); ++c) {
        const Completion& got = outputs_[i].completions[c];
        ++reasons[got.finish_reason];
        if (got.finish_reason != FinishReason::cancelled && got.finish_reason != FinishReason::deadline) continue;
        ran_on = false;
        EXPECT_NE(fate_of(i), Fate::lives) << what;
        if (request.best_of == 0) expect_beginning(got, expected.completions[c], what);
      }
      if (ran_on) expect_equal(outputs_[i], expected, what);
    }
    return reasons;
  }

 private:
  /// What happens to a request besides running.
  enum class Fate { lives, cancelled, expires };
  static Fate fate_of(std::uint32_t index) {
    return index % 13 == 5 ? Fate::cancelled : index % 17 == 3 ? Fate::expires : Fate::lives;
  }

  /// Submits requests thread, thread + threads_, ... and waits for them, each in one of three ways.
  void submit_and_check(Engine& engine, std::uint32_t thread) {
    struct Submitted {
      std::uint32_t index;
      RequestHandle handle;
      std::shared_ptr<Seen> seen;
    };
    std::vector<Submitted> all;
    EventQueue shared;
    std::map<RequestId, std::shared_ptr<Seen>> of_shared;
    for (std::uint32_t i = thread; i < outputs_.size(); i += threads_) {
      Request request = random_request(kind_, seed_, i);
      // Some before their first step, whatever the machine does; others on their way, or not at all.
      if (fate_of(i) == Fate::expires) request.deadline = i / 17 % 10 == 0 ? 1e-9 : 1e-3 * (1 + i % 200);
      auto seen = std::make_shared<Seen>();
      EventReceiver receiver;
      if (i / threads_ % 3 == 1) receiver = shared;
      if (i / threads_ % 3 == 2)
        receiver = [seen](const TokenEvent& event) {
          seen->see(event);
          return true;
        };
      std::optional<RequestHandle> handle = engine.try_submit(request, receiver);
      for (; !handle; handle = engine.try_submit(request, receiver)) {
        ++refused_;
        for (const TokenEvent& event : shared.await(Seconds(0.001))) of_shared.at(event.request)->see(event);
      }
      if (i / threads_ % 3 == 1) of_shared[handle->id()] = seen;
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

  RandomRequests kind_;
  std::uint32_t seed_, threads_;
  std::vector<RequestOutput> outputs_;
  std::atomic<int> refused_ = 0;
};

}  // namespace warploom::test
