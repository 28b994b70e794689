#include "cpu/thread_pool.h"

#include <algorithm>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cpu/process_limits.h"
#include "warploom/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace warploom::cpu {

namespace {

// About 50 to 100 microseconds of pauses, longer than any serial part of a step. After that a thread sleeps. It never
// yields: each yield would cost it the rest of its time slice.
constexpr int kSpins = 2000;
// If there are more threads than cores, or than a quota lets run, a spinning thread may keep the awaited one from running.
constexpr int kSpinsOnFewCores = 20;

constexpr int kClosed = std::numeric_limits<int>::min();  // stays negative when the number of workers is added

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : inside_(kClosed), shares_(static_cast<std::size_t>(std::max(threads, 1))) {
  spins_ = threads > 1 && threads > available_cpus() ? kSpinsOnFewCores : kSpins;
  workers_.reserve(static_cast<std::size_t>(std::max(threads - 1, 0)));
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    const std::size_t started = workers_.size() + 1;
    stop();
    throw BackendError(fmt::format("cpu: {} threads were asked for, the system gave {}: {}; ask for fewer", threads, started,
                                   error.what()));
  }
}

void ThreadPool::stop() {
  begin_round(1);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const Job& job) {
  job_ = job;
  next_.store(0, std::memory_order_relaxed);
  if (job.in_shares)
    for (Share& share : shares_) share.next.store(0, std::memory_order_relaxed);
  inside_.store(0, std::memory_order_release);  // publishes job_ and next_
  begin_round(2);
  take_chunks(0);
  end_round();
  if (failed_.test(std::memory_order_relaxed)) {
    failed_.clear(std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

void ThreadPool::run_chunk(std::int64_t begin, std::int64_t end, int thread) {
  try {
    job_.call(job_.context, begin, end, thread);
  } catch (...) {
    if (!failed_.test_and_set(std::memory_order_relaxed)) error_ = std::current_exception();
    next_.store(job_.count, std::memory_order_relaxed);
    for (Share& share : shares_) share.next.store(job_.count, std::memory_order_relaxed);
  }
}

void ThreadPool::take_chunks(int thread) {
  const Job& job = job_;
  if (job.in_shares) return take_shares(thread);
  for (;;) {
    const std::int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed),
                       heads = std::min<std::int64_t>(chunk, threads());
    const std::int64_t begin = heads * job.head + (chunk - heads) * job.grain;
    if (begin >= job.count) return;
    run_chunk(begin, std::min(begin + (chunk < threads() ? job.head : job.grain), job.count), thread);
  }
}

void ThreadPool::take_shares(int thread) {
  const Job& job = job_;
  for (int i = 0; i < threads(); ++i) {
    const int share = (thread + i) % threads();
    const std::int64_t first = share_begin(job.count, share), end = share_begin(job.count, share + 1);
    for (;;) {
      const std::int64_t chunk = shares_[static_cast<std::size_t>(share)].next.fetch_add(1, std::memory_order_relaxed);
      const std::int64_t begin = chunk == 0 ? first : first + job.head + (chunk - 1) * job.grain;
      if (begin >= end) break;
      run_chunk(begin, std::min(begin + (chunk == 0 ? job.head : job.grain), end), thread);
    }
  }
}

void ThreadPool::begin_round(std::uint32_t step) {
  // Sequentially consistent with sleepers_: either the caller sees a sleeper, or the sleeper sees the new round.
  round_.fetch_add(step, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  { const std::lock_guard lock(mutex_); }  // a worker that saw the old round is asleep now
  round_began_.notify_all();
}

void ThreadPool::end_round() {
  // All chunks are taken, so workers that have not entered yet must stay out. job_ may change when the others have left.
  inside_.fetch_add(kClosed, std::memory_order_acq_rel);
  for (int spins = 0; spins < spins_; ++spins) {
    if (inside_.load(std::memory_order_acquire) == kClosed) return;
    pause();
  }
  std::unique_lock lock(mutex_);
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  all_left_.wait(lock, [this] { return inside_.load(std::memory_order_seq_cst) == kClosed; });
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void ThreadPool::leave_round() {
  // As in begin_round: either this worker sees that the caller sleeps, or the caller sees that it has left.
  if (inside_.fetch_sub(1, std::memory_order_seq_cst) != kClosed + 1) return;
  if (!caller_sleeps_.load(std::memory_order_seq_cst)) return;
  { const std::lock_guard lock(mutex_); }
  all_left_.notify_one();
}

void ThreadPool::sleep_until_round_after(std::uint32_t seen) {
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  {
    std::unique_lock lock(mutex_);
    round_began_.wait(lock, [&] { return round_.load(std::memory_order_seq_cst) != seen; });
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  for (;;) {
    std::uint32_t round = round_.load(std::memory_order_acquire);
    for (int spins = 0; round == seen && spins < spins_; ++spins) {
      pause();
      round = round_.load(std::memory_order_acquire);
    }
    if (round == seen) {
      sleep_until_round_after(seen);
      continue;
    }
    if (round & 1) return;
    seen = round;
    int inside = inside_.load(std::memory_order_relaxed);
    while (inside >= 0 && !inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) {
    }
    if (inside < 0) continue;  // too late: the round is closed
    take_chunks(thread);
    leave_round();
  }
}

}  // namespace warploom::cpu
