// A device that fails at every op, transfer and wait in turn: every request ends with a reason, and no block is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/synthetic_checkpoint.h"
#include "model/loaded_model.h"
#include "support/failing_backend.h"
#include "support/generate.h"
#include "warploom/engine.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using testing::HasSubstr;

class Faults : public testing::Test {
 protected:
  Faults() {
    auto backend = std::make_unique<test::FailingBackend>();
    device_ = backend.get();
    const auto checkpoint = synthetic_checkpoint({"llama", 300, 256, 1, 64, 2, 1, 32, 64, true}, "Q8_0", 1, 1);
    model_ = load_model(*checkpoint, std::move(backend));
  }

  static EngineOptions options(bool own_thread) {
    EngineOptions options;
    options.kv_cache_tokens = 16 * 8;
    options.max_num_seqs = 6;
    options.max_num_batched_tokens = 32;
    options.check_blocks = true;
    options.own_thread = own_thread;
    return options;
  }

  // Prompts in chunks beside decoding, shared prefixes, copied blocks, preemptions, edited logits, some that wait.
  static std::vector<Request> requests() {
    std::vector<Request> requests;
    for (TokenId i = 0; i < 8; ++i) {
      Request& request = requests.emplace_back();
      request.prompt = std::vector<TokenId>(static_cast<std::size_t>(5 + 11 * (i % 4)), 10 + i / 3);
      request.max_tokens = 12 + 4 * i;
      request.ignore_eos = true;
      request.n = i % 3 == 0 ? 2 : 1;
      request.logprobs = true;
      request.sampling = {.temperature = 1.0f, .seed = static_cast<std::uint64_t>(i)};
      if (i == 4) request.logits_processor = [](const CompletionContext&, std::span<float> logits) { logits[7] += 1.0f; };
      if (i == 5) request.prompt_logprobs = true;
    }
    return requests;
  }

  struct Outcome {
    std::vector<RequestOutput> outputs;
    EngineStats stats;
    std::int64_t work = 0;
  };

  // The requests on a new engine whose device fails at its nth piece of work; 0: at none.
  Outcome run(std::int64_t nth, const test::FailingBackend::Fail& fail, bool lasting, bool own_thread = false) {
    device_->fail_at(0, {}, false);
    Engine engine(model_, options(own_thread));
    std::vector<RequestHandle> handles;
    std::vector<int> last_events(requests().size());
    device_->fail_at(nth, fail, lasting);
    for (const Request& request : requests()) {
      int& last = last_events[handles.size()];
      try {
        handles.push_back(engine.submit(request, [&last](const TokenEvent& event) {
          last += event.last;
          return true;
        }));
      } catch (const EngineStopped&) {  // it has failed already
        EXPECT_TRUE(own_thread);
      }
    }
    Outcome outcome;
    EXPECT_TRUE(engine.drain(Seconds(60)));
    for (std::size_t i = 0; i < handles.size(); ++i) {
      outcome.outputs.push_back(handles[i].output());
      EXPECT_EQ(last_events[i], 1) << "request " << i;
    }
    outcome.stats = engine.stats();
    outcome.work = device_->done();
    return outcome;
  }

  // How many requests ended as `error`; each other one must equal what it is without faults.
  static int count_failed(const Outcome& outcome, const Outcome& sound, const std::string& message) {
    int failed = 0;
    for (std::size_t i = 0; i < outcome.outputs.size(); ++i) {
      const RequestOutput &got = outcome.outputs[i], &want = sound.outputs[i];
      const std::string what = "request " + std::to_string(i);
      const bool ended_early = !got.error.empty();
      failed += ended_early;
      EXPECT_THAT(got.error, ended_early ? HasSubstr(message) : HasSubstr("")) << what;
      EXPECT_EQ(got.completions.size(), want.completions.size()) << what;
      for (std::size_t c = 0; c < want.completions.size(); ++c) {
        const FinishReason reason = got.completions[c].finish_reason;
        if (reason != FinishReason::error) {
          test::expect_same(got.completions[c], want.completions[c], what);
        } else {
          EXPECT_TRUE(ended_early) << what;
        }
      }
    }
    EXPECT_EQ(outcome.stats.kv_cache_usage, 0.0);
    EXPECT_EQ(outcome.stats.num_requests_running + outcome.stats.num_requests_waiting, 0);
    return failed;
  }

  test::FailingBackend* device_ = nullptr;
  std::shared_ptr<const Model> model_;
};

void device_is_gone() { throw BackendError("the device is gone"); }
void memory_is_short() { throw OutOfMemory("the device has no memory left"); }

TEST_F(Faults, AFailingDeviceEndsEveryRequestWithAReason) {
  const Outcome sound = run(0, {}, false);
  EXPECT_GT(sound.stats.preemptions, 0u);
  EXPECT_GT(sound.stats.cached_prompt_tokens, 0u);
  ASSERT_GT(sound.work, 200);
  for (std::int64_t nth = 1; nth <= sound.work && !HasFailure(); ++nth) {
    SCOPED_TRACE("piece of work " + std::to_string(nth) + " of " + std::to_string(sound.work));
    EXPECT_GE(count_failed(run(nth, device_is_gone, true), sound, "the device is gone"), 1);
  }
  EXPECT_EQ(count_failed(run(sound.work + 1, device_is_gone, true), sound, ""), 0);
}

TEST_F(Faults, TheSameWithTheEnginesThread) {
  const Outcome sound = run(0, {}, false);
  for (std::int64_t nth = 1; nth <= 200 && !HasFailure(); nth += 7) {
    SCOPED_TRACE("piece of work " + std::to_string(nth));
    count_failed(run(nth, device_is_gone, true, true), sound, "the device is gone");
  }
}

TEST_F(Faults, ShortMemoryEndsTheRequestsOfItsStepAlone) {
  const Outcome sound = run(0, {}, false);
  bool some_went_on = false;
  for (std::int64_t nth = 1; nth <= sound.work && !HasFailure(); ++nth) {
    SCOPED_TRACE("piece of work " + std::to_string(nth) + " of " + std::to_string(sound.work));
    const int failed = count_failed(run(nth, memory_is_short, false), sound, "no memory left");
    EXPECT_GE(failed, 1);
    some_went_on = some_went_on || failed < 8;
  }
  EXPECT_TRUE(some_went_on);
}

}  // namespace
}  // namespace warploom
