#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>

#include "engine/wait_for.h"
#include "warploom/engine.h"

namespace warploom {

struct EventQueue::State {
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<TokenEvent> events;
};

EventQueue::EventQueue() : state_(std::make_shared<State>()) {}

std::vector<TokenEvent> EventQueue::poll() { return await(Seconds(0)); }

std::vector<TokenEvent> EventQueue::await(Seconds timeout) {
  std::unique_lock lock(state_->mutex);
  wait_for(state_->arrived, lock, timeout, [&] { return !state_->events.empty(); });
  std::vector<TokenEvent> events(std::make_move_iterator(state_->events.begin()),
                                 std::make_move_iterator(state_->events.end()));
  state_->events.clear();
  return events;
}

void EventQueue::push(TokenEvent event) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->events.push_back(std::move(event));
  }
  state_->arrived.notify_all();
}

}  // namespace warploom
