#include "cpu/thread_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "warploom/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace warploom::cpu {

namespace {

constexpr int kSpins = 2000;  // with pauses, some 50 to 100 microseconds: longer than any serial stretch inside a step

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  yield_ = threads > static_cast<int>(std::thread::hardware_concurrency());
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
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const Job& job) {
  job_ = job;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  // Sequentially consistent with the sleepers' counting: either we see a sleeper, or it sees the new round.
  round_.fetch_add(2, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) round_.notify_all();
  take_chunks(0);
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (yield_ || spins > kSpins) {
      std::this_thread::yield();
    } else {
      pause();
    }
  }
  if (failed_.test(std::memory_order_relaxed)) {
    failed_.clear(std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

void ThreadPool::take_chunks(int thread) {
  const Job& job = job_;
  for (;;) {
    const std::int64_t begin = next_.fetch_add(job.grain, std::memory_order_relaxed);
    if (begin >= job.count) return;
    try {
      job.call(job.context, begin, std::min(begin + job.grain, job.count), thread);
    } catch (...) {
      if (!failed_.test_and_set(std::memory_order_relaxed)) error_ = std::current_exception();
      next_.store(job.count, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  for (;;) {
    std::uint32_t round = round_.load(std::memory_order_acquire);
    for (int spins = 0; round == seen && spins < kSpins; ++spins) {
      yield_ ? std::this_thread::yield() : pause();
      round = round_.load(std::memory_order_acquire);
    }
    if (round == seen) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      round_.wait(seen, std::memory_order_seq_cst);
      sleepers_.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    if (round & 1) return;
    seen = round;
    take_chunks(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace warploom::cpu
