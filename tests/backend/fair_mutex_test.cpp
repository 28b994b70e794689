#include "backend/fair_mutex.h"

#include <stdexcept>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace warploom {
namespace {

void await_waiting(const FairMutex& mutex, std::size_t threads) {
  while (mutex.num_waiting() < threads) std::this_thread::yield();
}

TEST(FairMutex, WhoTakesItAgainQueuesBehindWhoWaits) {
  for (int round = 0; round < 100; ++round) {
    FairMutex mutex;
    std::vector<char> turns;
    mutex.lock();
    std::thread other([&] {
      const std::lock_guard lock(mutex);
      turns.push_back('b');
    });
    await_waiting(mutex, 1);
    turns.push_back('a');
    mutex.unlock();
    mutex.lock();
    turns.push_back('a');
    mutex.unlock();
    other.join();
    ASSERT_THAT(turns, testing::ElementsAre('a', 'b', 'a')) << "round " << round;
  }
}

TEST(FairMutex, WaitersGetItInTheOrderInWhichTheyCame) {
  FairMutex mutex;
  std::vector<int> turns, expected;
  std::vector<std::thread> threads;
  mutex.lock();
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&, i] {
      const std::lock_guard lock(mutex);
      turns.push_back(i);
    });
    await_waiting(mutex, threads.size());
    expected.push_back(i);
  }
  EXPECT_THAT(turns, testing::IsEmpty());
  mutex.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(turns, expected);
  EXPECT_EQ(mutex.num_waiting(), 0u);
}

TEST(FairMutex, TwoThatWantItAllTheTimeAlternate) {
  constexpr int kTurns = 1000;
  FairMutex mutex;
  std::vector<int> turns;
  // Each lets go only when the other waits, or has ended.
  int ended = 0;
  const auto work = [&](int thread) {
    for (int turn = 0; turn < kTurns; ++turn) {
      const std::lock_guard lock(mutex);
      turns.push_back(thread);
      if (turn + 1 == kTurns) ++ended;
      if (ended == 0) await_waiting(mutex, 1);
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  ASSERT_EQ(turns.size(), 2u * kTurns);
  for (std::size_t i = 1; i < turns.size(); ++i) ASSERT_NE(turns[i], turns[i - 1]) << "turn " << i;
}

TEST(FairMutex, OneThreadHasItAtATime) {
  constexpr int kThreads = 4, kTurns = 5000;
  FairMutex mutex;
  int count = 0;  // ThreadSanitizer sees whether unlock() publishes it
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int turn = 0; turn < kTurns; ++turn) {
        const std::lock_guard lock(mutex);
        ++count;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kTurns);
}

TEST(FairMutex, AnExceptionLetsGoOfIt) {
  FairMutex mutex;
  EXPECT_THROW(
      {
        const std::lock_guard lock(mutex);
        throw std::runtime_error("a step failed");
      },
      std::runtime_error);
  bool reached = false;
  std::thread([&] {
    const std::lock_guard lock(mutex);
    reached = true;
  }).join();
  EXPECT_TRUE(reached);
}

}  // namespace
}  // namespace warploom
