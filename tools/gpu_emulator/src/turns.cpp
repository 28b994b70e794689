#include "turns.h"

namespace emulator {
namespace {

constexpr uint64_t kMostResident = 4096;  // blocks that have started and wait: beyond, they go on before others start

}  // namespace

void Turns::await(std::unique_lock<std::mutex>& lock, uint64_t turn) {
  changed_.wait(lock, [&] { return ended_ >= turn || cancelled_; });
}
void Turns::await(uint64_t turn) {
  std::unique_lock lock(mutex_);
  await(lock, turn);
}

Turns::Turn Turns::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !deciding_ || cancelled_; });
  Turn turn = {taken_++, started_ < blocks_, started_, nullptr};
  if (!turn.starts || started_ - left_ >= kMostResident) {
    deciding_ = true;
    await(lock, turn.number);
    deciding_ = false;
    changed_.notify_all();
    turn.starts = started_ < blocks_ && waiting_.size() < kMostResident;
  }
  if (turn.starts) {
    ++started_;
  } else if (!waiting_.empty()) {
    turn.goes_on = std::move(waiting_.front());
    waiting_.pop_front();
  }
  return turn;
}

void Turns::end_locked(uint64_t turn) {
  ended_early_.push(turn);
  while (!ended_early_.empty() && ended_early_.top() == ended_) {
    ended_early_.pop();
    ++ended_;
  }
  changed_.notify_all();
}
void Turns::end(uint64_t turn) {
  const std::lock_guard lock(mutex_);
  ++left_;
  end_locked(turn);
}

void Turns::put_aside(uint64_t turn, std::unique_ptr<Block> block) {
  std::unique_lock lock(mutex_);
  await(lock, turn);
  waiting_.push_back(std::move(block));
  end_locked(turn);
}

void Turns::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

std::deque<std::unique_ptr<Block>> Turns::take_waiting() {
  const std::lock_guard lock(mutex_);
  return std::move(waiting_);
}

}  // namespace emulator
