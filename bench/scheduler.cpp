// What the scheduler costs a step, alone: no model runs. Times are of schedule() and commit(); what fills the queues is not measured.
#include <chrono>
#include <fstream>
#include <numeric>
#include <string>

#include <benchmark/benchmark.h>

#include "engine/scheduler.h"

namespace warploom {
namespace {

std::shared_ptr<SequenceGroup> group_of(std::uint64_t id, std::int64_t prompt, std::int64_t max_tokens) {
  auto group = std::make_shared<SequenceGroup>();
  group->request_id = id;
  group->prompt.resize(static_cast<std::size_t>(prompt));
  std::iota(group->prompt.begin(), group->prompt.end(), static_cast<TokenId>(id * 7919 % 100000));
  group->max_tokens = max_tokens;
  return group;
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

class Stopwatch {
 public:
  void start() { start_ = std::chrono::steady_clock::now(); }
  double stop() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_;
};

// Every one of `running` sequences decodes a token a step, beside `waiting` requests that cannot be admitted.
void decode_step(benchmark::State& state) {
  const std::int64_t running = state.range(0), waiting = state.range(1);
  constexpr std::int64_t kPrompt = 64, kLength = 1024;
  std::vector<SampleResult> results(static_cast<std::size_t>(running));
  while (state.KeepRunningBatch(kLength - kPrompt - 1)) {
    BlockPool pool(running * (kLength / 16 + 1));
    Scheduler scheduler(pool,
                        {.max_num_seqs = running, .max_num_batched_tokens = running * kPrompt, .context_length = 1 << 20});
    for (std::int64_t i = 0; i < running + waiting; ++i)
      scheduler.add(group_of(static_cast<std::uint64_t>(i), kPrompt, 1 << 20));
    scheduler.schedule();
    scheduler.commit(results);
    Stopwatch watch;
    watch.start();
    for (std::int64_t step = 0; step + kPrompt + 1 < kLength; ++step) {
      benchmark::DoNotOptimize(scheduler.schedule());
      scheduler.commit(results);
    }
    state.SetIterationTime(watch.stop());
  }
}
BENCHMARK(decode_step)
    ->ArgsProduct({{1, 32, 256, 1024}, {0, 1024, 65536}})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(959);

// One of `waiting` requests with prompts of 8,192 tokens is admitted a step; schedule() alone.
void admission(benchmark::State& state) {
  const std::int64_t waiting = state.range(0);
  constexpr std::int64_t kPrompt = 8192;
  const double before = resident_bytes();
  BlockPool pool(2 * kPrompt / 16);
  Scheduler scheduler(pool, {.max_num_seqs = 64, .max_num_batched_tokens = kPrompt, .context_length = 1 << 20});
  for (std::int64_t i = 0; i < waiting; ++i) scheduler.add(group_of(static_cast<std::uint64_t>(i), kPrompt, 1));
  state.counters["GB"] = (resident_bytes() - before) / 1e9;
  const std::vector<SampleResult> results(1);
  Stopwatch watch;
  for (auto _ : state) {
    watch.start();
    const ScheduledBatch& batch = scheduler.schedule();
    state.SetIterationTime(watch.stop());
    if (batch.sequences.size() != 1) return state.SkipWithError("a step did not admit one request");
    scheduler.commit(results);
  }
}
BENCHMARK(admission)->Arg(1024)->Arg(65536)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(1000);

// The same while the first that waits shares 8,176 tokens with what the cache holds but lacks blocks for the rest.
void admission_refused(benchmark::State& state) {
  constexpr std::int64_t kPrompt = 8192;
  BlockPool pool(kPrompt / 16 + 20);
  Scheduler scheduler(pool, {.max_num_seqs = 64, .max_num_batched_tokens = kPrompt, .context_length = 1 << 20});
  scheduler.add(group_of(1, kPrompt, 1 << 20));
  const std::vector<SampleResult> results(1);
  scheduler.schedule();
  scheduler.commit(results);
  auto long_one = group_of(1, kPrompt, 1);
  long_one->prompt.resize(kPrompt + 16 * 30, 1);
  scheduler.add(long_one);
  Stopwatch watch;
  for (auto _ : state) {
    watch.start();
    const ScheduledBatch& batch = scheduler.schedule();
    state.SetIterationTime(watch.stop());
    if (batch.sequences.size() != 1) return state.SkipWithError("the second request was admitted");
    scheduler.commit(results);
  }
}
BENCHMARK(admission_refused)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(100);

}  // namespace
}  // namespace warploom
