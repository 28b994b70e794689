#include "cpu/thread_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/sanitized.h"
#include "warploom/error.h"

namespace warploom::cpu {
namespace {

TEST(ThreadPool, EveryIndexIsVisitedOnceWhateverTheGrain) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const std::int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (const std::int64_t grain : {-1, 0, 1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
          EXPECT_TRUE(thread >= 0 && thread < threads) << thread;
          for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        for (const auto& v : visits) EXPECT_EQ(v, 1) << threads << " threads, " << count << " by " << grain;
      }
    }
  }
}

TEST(ThreadPool, SharesAreVisitedOnceAndNoChunkLeavesIts) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const std::int64_t count : {1, 2, 7, 64, 1000})
      for (const std::int64_t head : {1, 5, 100})
        for (const std::int64_t grain : {1, 3, 64}) {
          std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
          pool.parallel_for_shares(count, head, grain, [&](std::int64_t begin, std::int64_t end, int) {
            int share = 0;
            while (threads > 1 && pool.share_begin(count, share + 1) <= begin) ++share;
            EXPECT_TRUE(threads == 1 || end <= pool.share_begin(count, share + 1)) << begin << " to " << end;
            for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
          });
          for (const auto& v : visits)
            EXPECT_EQ(v, 1) << threads << " threads, " << count << " by " << head << ", " << grain;
        }
  }
}

TEST(ThreadPool, ThreadsBeginWithTheirOwnSharesAndHelpWithOthers) {
  ThreadPool pool(2);
  int own = 0, helped = 0;
  for (int round = 0; round < 2000 && (own == 0 || helped == 0); ++round) {
    int by[2] = {-1, -1};  // which thread took the first chunk of a share, and which the last one of the other
    std::atomic<bool> slow{true};
    pool.parallel_for_shares(20, 1, 1, [&](std::int64_t begin, std::int64_t, int thread) {
      if (begin == 10) by[0] = thread;
      if (begin == 9) by[1] = thread;
      if (begin == 19) slow = false;
      // The first share's thread waits until the second share is done.
      if (begin == 0 && thread == 0)
        for (int i = 0; slow && i < 100000; ++i) std::this_thread::yield();
    });
    own += by[0] == 1;
    helped += by[1] == 1;
  }
  EXPECT_GT(own, 0);
  EXPECT_GT(helped, 0);
}

TEST(ThreadPool, ManyShortRoundsLoseNothing) {
  ThreadPool pool(4);
  std::vector<std::int64_t> sums(4, 0);
  for (int round = 0; round < 20000; ++round)
    pool.parallel_for(
        8, 1, [&](std::int64_t begin, std::int64_t, int thread) { sums[static_cast<std::size_t>(thread)] += begin; });
  EXPECT_EQ(sums[0] + sums[1] + sums[2] + sums[3], 20000 * 28);
}

TEST(ThreadPool, AnExceptionReachesTheCallerAndThePoolGoesOn) {
  ThreadPool pool(3);
  for (int round = 0; round < 200; ++round) {
    const auto thrower = [&](std::int64_t begin, std::int64_t, int) {
      if (begin == round % 16) throw std::bad_alloc();
    };
    EXPECT_THROW(pool.parallel_for(16, 1, thrower), std::bad_alloc);
    std::atomic<std::int64_t> sum = 0;
    pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t, int) { sum += begin; });
    EXPECT_EQ(sum, 120);
  }
  const auto always = [](std::int64_t, std::int64_t, int) { throw std::runtime_error("all"); };
  EXPECT_THROW(pool.parallel_for(64, 1, always), std::runtime_error);
  EXPECT_THROW(pool.parallel_for_shares(64, 1, 1, always), std::runtime_error);
  std::atomic<std::int64_t> sum = 0;
  pool.parallel_for_shares(16, 1, 1, [&](std::int64_t begin, std::int64_t, int) { sum += begin; });
  EXPECT_EQ(sum, 120);
}

std::atomic<int> held{0};  // threads that the handler below keeps
std::atomic<bool> let_go{false};

void hold_thread(int) {
  ++held;
  while (!let_go) {
  }
  --held;
}

bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(file, stat);
  return stat.find(") S ") != std::string::npos;
}

// A signal keeps the worker as a busy machine does that gives it no core.
TEST(ThreadPool, ARoundDoesNotWaitForAThreadThatTookNoPartInIt) {
  let_go = false;  // where the test is repeated
  ThreadPool pool(2);
  std::atomic<pthread_t> worker{};
  std::atomic<pid_t> worker_id{0};
  while (worker_id == 0)
    pool.parallel_for(1000, 1, [&](std::int64_t, std::int64_t, int thread) {
      if (thread == 1 && worker_id == 0) {
        worker = pthread_self();
        worker_id = gettid();
      }
    });
  // Not before it sleeps: on its way there it holds the pool's lock for an instant, and the signal could keep it then.
  while (!sleeps(worker_id)) std::this_thread::yield();
  struct sigaction action {
  }, before{};
  action.sa_handler = hold_thread;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  ASSERT_EQ(pthread_kill(worker, SIGUSR1), 0);
  while (held == 0) {
  }
  // Where rounds wait, this ends the test all the same.
  std::thread rescue([] {
    for (int i = 0; i < 1000 && !let_go; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    let_go = true;
  });
  std::atomic<std::int64_t> sum = 0;
  for (int round = 0; round < 100; ++round)
    pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t, int) { sum += begin; });
  EXPECT_EQ(sum, 100 * 120);
  EXPECT_FALSE(let_go) << "the rounds went on only when the thread came back";
  let_go = true;
  rescue.join();
  while (held != 0) {
  }
  EXPECT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  // Back again, it works as before.
  std::atomic<bool> helped{false};
  while (!helped)
    pool.parallel_for(1000, 1, [&](std::int64_t, std::int64_t, int thread) {
      if (thread == 1) helped = true;
    });
}

// In a process of its own: the limit holds for it alone.
TEST(ThreadPoolDeathTest, TooManyThreadsAreAnErrorNotACrash) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers reserve more addresses than the limit allows";
  const auto starve = [] {
    const rlimit limit{rlim_t{1} << 30, rlim_t{1} << 30};  // of addresses, of which each thread's stack takes 8 MiB
    setrlimit(RLIMIT_AS, &limit);
    try {
      ThreadPool pool(4096);
    } catch (const BackendError& error) {
      fprintf(stderr, "%s\n", error.what());
      _exit(7);
    }
    _exit(0);
  };
  EXPECT_EXIT(starve(), testing::ExitedWithCode(7),
              "4096 threads were asked for, the system gave [0-9]+: .*; ask for fewer");
}

}  // namespace
}  // namespace warploom::cpu
