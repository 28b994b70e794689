// An hour of traffic in seconds: the clock is the test's.
#include <unistd.h>
#include <fstream>
#include <map>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "engine/engine_core.h"
#include "support/random_requests.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"
#include "warploom/model.h"

namespace warploom {
namespace {

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

struct Served {
  std::uint64_t arrival;  // 1, 2, ...
  int priority;
  double arrived, admitted;  // seconds since the beginning
};

/// No request may be overtaken by more than `window` later ones for each step of priority between them.
void expect_no_starvation(const std::vector<Served>& all, std::int64_t window) {
  std::map<std::pair<int, int>, std::int64_t> most;  // by the priorities of both
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::map<int, std::int64_t> overtaken_by;
    for (std::size_t j = i + 1; j < all.size() && all[j].arrived <= all[i].admitted; ++j)
      if (all[j].admitted < all[i].admitted - 1e-6) ++overtaken_by[all[j].priority];
    for (const auto& [priority, count] : overtaken_by) {
      EXPECT_LT(priority, all[i].priority) << "request " << all[i].arrival << " was overtaken by its equals";
      EXPECT_LE(count, window * (all[i].priority - priority)) << "request " << all[i].arrival;
      most[{all[i].priority, priority}] = std::max(most[{all[i].priority, priority}], count);
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT((most[{2, -2}]), 4) << "urgent requests never overtook: the test shows nothing";
}

constexpr int kMinutes = test::some_of(60);

TEST(Traffic, AnHourStarvesNobodyAndLeaksNothing) {
  const test::TemporaryModel file(test::tiny_model({.layers = 1, .heads = 2, .kv_heads = 1}));
  const auto model = Model::load(file.path());
  EngineOptions options;
  options.kv_cache_tokens = 16 * 16;
  options.max_num_seqs = 16;
  options.max_num_batched_tokens = 64;
  options.priority_window = 8;
  Clock::time_point now{};
  EngineCore core(model, model->tokenizer(), options, [&now] { return now; });

  std::vector<Served> all;
  std::mt19937 rng(5);
  std::exponential_distribution<double> gap(8.0);  // requests a second, a little above what 40 steps a second can serve
  const OnToken take = [&](const TokenEvent& event) {
    if (!event.last) return true;
    const RequestOutput output = core.take_output(event.request);
    Served& served = all[event.request - 1];
    served.admitted += output.completions.at(0).timings.queue_seconds;
    return true;
  };
  double next_arrival = 0.0;
  std::int64_t after_minutes = 0;
  for (std::int64_t step = 0; step < kMinutes * 60 * 40; ++step) {
    const double time = static_cast<double>(step) / 40;
    now = Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(time)));
    for (; next_arrival <= time; next_arrival += gap(rng)) {
      if (core.scheduler().num_waiting() > 400) continue;  // as a server would refuse
      Request request =
          test::random_request({.max_tokens = 40, .callbacks = false}, 2, static_cast<std::uint32_t>(all.size()));
      request.n = 1;
      request.best_of = 0;
      all.push_back({all.size() + 1, request.priority, time, time});
      ASSERT_EQ(core.add(std::move(request)), all.size());
    }
    if (core.has_unfinished()) core.step(take);
    if (step == 5 * 60 * 40) after_minutes = resident_bytes();
  }
  const std::int64_t growth = resident_bytes() - after_minutes;
  if (!test::kAddressSanitizer) {  // which keeps what was freed
    EXPECT_LT(growth, 4 << 20) << "bytes since the fifth minute";
  }
  EXPECT_GT(core.stats().preemptions, 2u * kMinutes);
  EXPECT_GT(all.size(), 20000u * kMinutes / 60);
  for (const auto id : core.unfinished()) {
    core.abort(id, FinishReason::cancelled, {});
    core.take_output(id);
    std::erase_if(all, [id](const Served& served) { return served.arrival == id; });
  }
  EXPECT_EQ(core.pool().free_count(), core.pool().size());
  expect_no_starvation(all, options.priority_window);
}

}  // namespace
}  // namespace warploom
