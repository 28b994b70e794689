// What is behind an Engine: an inbox that any thread fills, and a core that one thread at a time steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine_core.h"
#include "engine/wait_for.h"
#include "warploom/engine.h"

namespace warploom {

struct RequestHandle::State {
  RequestId id = 0;
  EventQueue queue;
  OnToken on_token;  // empty: the queue gets the events
  bool on_token_threw = false;
  std::weak_ptr<Engine::State> engine;

  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;
  RequestOutput output;  // once finished

  void finish(RequestOutput result);
};

/// The latest of what one thread adds and another takes.
template <typename T>
class Latest {
 public:
  explicit Latest(std::size_t capacity) : capacity_(capacity) {}

  void add(T value) {
    if (capacity_ == 0) return;
    const std::lock_guard lock(mutex_);
    if (values_.size() == capacity_) values_.pop_front();
    values_.push_back(std::move(value));
  }
  std::vector<T> take() {
    const std::lock_guard lock(mutex_);
    std::vector<T> all(std::make_move_iterator(values_.begin()), std::make_move_iterator(values_.end()));
    values_.clear();
    return all;
  }

 private:
  std::mutex mutex_;
  std::size_t capacity_;
  std::deque<T> values_;
};

struct Engine::State {
  using Entry = std::shared_ptr<RequestHandle::State>;

  State(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options,
        Now now);

  // For any thread.
  bool has_room();  // false: the queue is full, and the refusal is counted; throws if no request is taken any more
  bool submit(PreparedRequest prepared, const Entry& entry);  // false: as has_room()
  void refuse_in_callback(const char* call) const;
  void cancel(RequestId id);
  void clear_prefix_cache();
  EngineStats stats();
  bool drain(Seconds timeout);
  void shutdown();
  void leave();  // shuts down; in a callback when that returned
  bool step();   // throws if another thread is in it
  void run();    // steps until shutdown

  const std::shared_ptr<const Model> model;
  const std::shared_ptr<const Tokenizer> tokenizer;
  const EngineOptions options;
  Latest<IterationStats> iteration_stats;
  Latest<KvCacheEvent> kv_cache_events;
  std::thread thread;

 private:
  struct Submission {
    PreparedRequest prepared;
    Entry entry;
    Clock::time_point submitted;
  };
  struct Inbox {
    std::vector<Submission> submissions;
    std::vector<RequestId> cancelled;
    bool clear_prefix_cache = false;

    bool empty() const { return submissions.empty() && cancelled.empty() && !clear_prefix_cache; }
  };

  bool has_room_locked();
  void step_once();
  void end_if_left();
  void handle(Inbox inbox);
  void run_core();
  bool dispatch(const TokenEvent& event);
  bool deliver(RequestHandle::State& entry, const TokenEvent& event);
  void abort_all(FinishReason reason, const std::string& error);
  void publish();

  const Now now_;
  const Clock::time_point start_;
  std::mutex joining_;

  std::mutex mutex_;  // guards what follows; held for moments only
  std::condition_variable work_, idle_;
  Inbox inbox_;
  bool draining_ = false, stopping_ = false;
  bool left_ = false;    // nobody calls shutdown()
  std::string failure_;  // of the device; no step follows
  RequestId last_id_ = 0;
  std::int64_t num_unfinished_ = 0;
  EngineStats stats_;  // as of the last step; requests that the step in progress has taken from the inbox still wait
  std::uint64_t num_refused_ = 0;

  std::mutex stepping_;  // guards what follows; held during a step
  std::atomic<std::thread::id> stepper_;
  EngineCore core_;
  std::unordered_map<RequestId, Entry> entries_;
  std::vector<std::pair<RequestId, std::string>> failed_callbacks_;  // of the step in progress, as the next
  std::int64_t num_ended_ = 0;
  OnToken dispatcher_;
};

}  // namespace warploom
