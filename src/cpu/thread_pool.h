// The CPU backend's own threads. They spin between the ops of a step, so that handing out work takes about a microsecond,
// and sleep if no work comes. A round waits only for the threads that entered it: on a busy machine, a thread without a core
// would otherwise delay every op by a time slice.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace warploom::cpu {

/// Splits [0, count) into chunks; a thread takes the next chunk when it is free. Results must not depend on which thread
/// runs a chunk. One caller at a time.
class ThreadPool {
 public:
  /// `threads` includes the caller and is at least 1. Throws BackendError if the system cannot start that many.
  explicit ThreadPool(int threads);
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Most of a thread's share of `count`, which it does in one go, as prefetching likes it; the rest, in small chunks, makes up for
  /// what other programs took from one of the threads.
  std::int64_t head_of(std::int64_t count) const { return count / threads() * 7 / 8; }

  /// Where the chunk probably begins that this thread takes after one that ends at `end`, if threads are equally fast: what to fetch
  /// meanwhile. May be beyond the count.
  std::int64_t likely_next(std::int64_t end, std::int64_t head, std::int64_t grain, int thread) const {
    const std::int64_t heads = head * threads();
    return end <= heads ? heads + thread * grain : end + (threads() - 1) * grain;
  }

  /// Calls body(begin, end, thread) for chunks until [0, count) is done; thread is in [0, threads()). The first threads() chunks
  /// are of `head`, the others of `grain`. A single chunk runs on the caller. Returns when all chunks are done and rethrows the
  /// first exception of a chunk.
  template <typename Body>
  void parallel_for(std::int64_t count, std::int64_t head, std::int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (count <= head || workers_.empty()) return body(std::int64_t{0}, count, 0);
    run(job_of(count, head, grain, body));
  }
  /// All chunks of `grain`.
  template <typename Body>
  void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
    if (grain < 1) grain = 1;
    parallel_for(count, grain, grain, body);
  }

  /// The same in equal shares, one for each thread: a thread takes the chunks of its own, the first of which is of `head`, and then
  /// helps others with theirs. No chunk goes beyond a share.
  template <typename Body>
  void parallel_for_shares(std::int64_t count, std::int64_t head, std::int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (workers_.empty()) return body(std::int64_t{0}, count, 0);
    Job job = job_of(count, head, grain, body);
    job.in_shares = true;
    run(job);
  }
  std::int64_t share_begin(std::int64_t count, int share) const { return count * share / threads(); }

 private:
  struct Job {
    void (*call)(const void* context, std::int64_t begin, std::int64_t end, int thread) = nullptr;
    const void* context = nullptr;
    std::int64_t count = 0, head = 1, grain = 1;
    bool in_shares = false;
  };
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};  // chunk
  };

  template <typename Body>
  static Job job_of(std::int64_t count, std::int64_t head, std::int64_t grain, const Body& body) {
    return {[](const void* context, std::int64_t begin, std::int64_t end, int thread) {
              (*static_cast<const Body*>(context))(begin, end, thread);
            },
            &body, count, head, grain};
  }

  void run(const Job& job);
  void take_chunks(int thread);
  void take_shares(int thread);
  void run_chunk(std::int64_t begin, std::int64_t end, int thread);
  void work(int thread);
  void begin_round(std::uint32_t step);
  void end_round();
  void leave_round();
  void sleep_until_round_after(std::uint32_t seen);
  void stop();

  Job job_;
  int spins_ = 0;  // of a waiting thread before it sleeps
  std::exception_ptr error_;
  std::atomic_flag failed_;                          // the thread that sets it owns error_ until the round ends
  alignas(64) std::atomic<std::int64_t> next_{0};    // chunk
  alignas(64) std::atomic<std::uint32_t> round_{0};  // odd marks shutdown
  alignas(64) std::atomic<int> inside_;              // workers in the round, plus kClosed while none may enter
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::mutex mutex_;  // of the two condition variables
  std::condition_variable round_began_;
  std::condition_variable all_left_;
  std::vector<Share> shares_;
  std::vector<std::thread> workers_;
};

}  // namespace warploom::cpu
