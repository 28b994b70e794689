#include "engine/engine_state.h"

#include <new>

#include <fmt/format.h>

#include "engine/within.h"
#include "warploom/error.h"

namespace warploom {

void RequestHandle::State::finish(RequestOutput result) {
  {
    const std::lock_guard lock(mutex);
    output = std::move(result);
    finished = true;
  }
  done.notify_all();
}

Engine::State::State(std::shared_ptr<const Model> of, std::shared_ptr<const Tokenizer> with, const EngineOptions& as,
                     Now now)
    : model(std::move(of)),
      tokenizer(std::move(with)),
      options(as),
      iteration_stats(options.iteration_stats_capacity),
      kv_cache_events(options.kv_cache_events_capacity),
      now_(std::move(now)),
      start_(now_()),
      core_(model, tokenizer, options, now_),
      dispatcher_([this](const TokenEvent& event) { return dispatch(event); }) {
  if (options.kv_cache_events_capacity > 0)
    core_.pool().set_listener([this, id = std::uint64_t{0}](KvCacheEvent event) mutable {
      event.id = ++id;
      kv_cache_events.add(std::move(event));
    });
  publish();
}

bool Engine::State::has_room() {
  const std::lock_guard lock(mutex_);
  return has_room_locked();
}

bool Engine::State::has_room_locked() {
  if (!failure_.empty()) throw EngineStopped(fmt::format("the engine takes no more requests: {}", failure_));
  if (draining_) throw EngineStopped("the engine takes no more requests: it was drained or shut down");
  const std::int64_t waiting = stats_.num_requests_waiting + static_cast<std::int64_t>(inbox_.submissions.size());
  if (options.max_queued_requests == 0 || waiting < options.max_queued_requests) return true;
  ++num_refused_;
  return false;
}

bool Engine::State::submit(PreparedRequest prepared, const Entry& entry) {
  {
    const std::lock_guard lock(mutex_);
    if (!has_room_locked()) return false;
    entry->id = prepared.group->request_id = ++last_id_;
    ++num_unfinished_;
    inbox_.submissions.push_back({std::move(prepared), entry, now_()});
  }
  work_.notify_one();
  return true;
}

void Engine::State::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.cancelled.push_back(id);
  }
  work_.notify_one();
}

void Engine::State::clear_prefix_cache() {
  {
    const std::lock_guard lock(mutex_);
    inbox_.clear_prefix_cache = true;
  }
  work_.notify_one();
}

EngineStats Engine::State::stats() {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.uptime = seconds(now_() - start_);
  stats.num_requests_waiting += static_cast<std::int64_t>(inbox_.submissions.size());
  stats.num_requests_running = num_unfinished_ - stats.num_requests_waiting;
  stats.refused_requests = num_refused_;
  return stats;
}

void Engine::State::refuse_in_callback(const char* call) const {
  if (stepper_ == std::this_thread::get_id())
    throw InvalidArgument(fmt::format("{} must not be called in a callback", call));
}

bool Engine::State::drain(Seconds timeout) {
  refuse_in_callback("drain()");
  const Clock::time_point begin = Clock::now();
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto none_left = [this] { return num_unfinished_ == 0; };
  if (options.own_thread) return wait_for(idle_, lock, timeout, none_left);
  while (!none_left() && Seconds(Clock::now() - begin) < timeout) {
    lock.unlock();
    {
      const std::lock_guard stepping(stepping_);
      step_once();
      end_if_left();
    }
    lock.lock();
  }
  return none_left();
}

void Engine::State::shutdown() {
  refuse_in_callback("shutdown()");
  {
    const std::lock_guard lock(mutex_);
    draining_ = stopping_ = true;
  }
  work_.notify_one();
  {
    const std::lock_guard stepping(stepping_);  // after the step in progress
    step_once();
  }
  const std::lock_guard joining(joining_);
  if (thread.joinable()) thread.join();
}

void Engine::State::leave() {
  if (stepper_ != std::this_thread::get_id()) return shutdown();
  {
    const std::lock_guard lock(mutex_);
    draining_ = stopping_ = left_ = true;
  }
  const std::lock_guard joining(joining_);
  if (thread.joinable()) thread.detach();  // this one: it ends when the callback and its step have returned
}

// Ends what is left, with a reason.
void Engine::State::end_if_left() {
  {
    const std::lock_guard lock(mutex_);
    if (!left_) return;
  }
  step_once();
}

bool Engine::State::step() {
  refuse_in_callback("step()");
  const std::unique_lock stepping(stepping_, std::try_to_lock);
  if (!stepping) throw InvalidArgument("step: another thread is in it");
  step_once();
  end_if_left();
  const std::lock_guard lock(mutex_);
  return num_unfinished_ > 0;
}

void Engine::State::run() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return stopping_ || num_unfinished_ > 0 || !inbox_.empty(); });
      if (stopping_) return;  // shutdown() does the rest
    }
    const std::lock_guard stepping(stepping_);
    step_once();
    end_if_left();
  }
}

void Engine::State::step_once() {
  const Within within(stepper_);
  Inbox inbox;
  bool stopping = false;
  std::string failure;
  {
    const std::lock_guard lock(mutex_);
    std::swap(inbox, inbox_);
    stats_.num_requests_waiting += static_cast<std::int64_t>(inbox.submissions.size());
    stopping = stopping_;
    failure = failure_;
  }
  handle(std::move(inbox));
  if (!failure.empty())
    abort_all(FinishReason::error, failure);
  else if (stopping)
    abort_all(FinishReason::shutdown, {});
  else
    run_core();
  publish();
}

void Engine::State::handle(Inbox inbox) {
  for (Submission& submission : inbox.submissions) {
    entries_.emplace(submission.entry->id, submission.entry);
    core_.add(std::move(submission.prepared), submission.submitted);
  }
  for (const RequestId id : inbox.cancelled)
    if (entries_.contains(id)) core_.abort(id, FinishReason::cancelled, dispatcher_);
  if (inbox.clear_prefix_cache) core_.clear_prefix_cache();
}

// One step, whatever goes wrong in it.
void Engine::State::run_core() {
  if (!core_.has_unfinished()) return;
  const auto abort_step = [this](const char* what) {
    for (const RequestId id : core_.in_step()) core_.abort(id, FinishReason::error, dispatcher_, what);
  };
  try {
    core_.step(dispatcher_);
    if (core_.last_step().step > 0) iteration_stats.add(core_.last_step());  // else it only ended requests
  } catch (const OutOfMemory& error) {
    abort_step(error.what());
  } catch (const std::bad_alloc&) {
    abort_step("out of memory");
  } catch (const std::exception& error) {  // the device failed, or the engine's own state is wrong
    {
      const std::lock_guard lock(mutex_);
      failure_ = error.what();
    }
    abort_all(FinishReason::error, error.what());
  }
  for (auto& [id, error] : std::exchange(failed_callbacks_, {}))
    if (entries_.contains(id)) core_.abort(id, FinishReason::error, dispatcher_, std::move(error));
}

void Engine::State::abort_all(FinishReason reason, const std::string& error) {
  for (const RequestId id : core_.unfinished()) core_.abort(id, reason, dispatcher_, error);
}

bool Engine::State::dispatch(const TokenEvent& event) {
  const auto found = entries_.find(event.request);
  const Entry entry = found->second;
  const bool go_on = deliver(*entry, event);
  if (!event.last) return go_on;
  entries_.erase(found);
  ++num_ended_;
  entry->finish(core_.take_output(entry->id));
  return go_on;
}

bool Engine::State::deliver(RequestHandle::State& entry, const TokenEvent& event) {
  if (!entry.on_token) {
    entry.queue.push(event);
    return true;
  }
  if (entry.on_token_threw) return true;  // its request is about to be aborted
  std::string error;
  try {
    return entry.on_token(event);
  } catch (const std::exception& exception) {
    error = exception.what();
  } catch (...) {
    error = "an exception that is no std::exception";
  }
  entry.on_token_threw = true;
  failed_callbacks_.emplace_back(entry.id, fmt::format("on_token: {}", error));
  return true;
}

void Engine::State::publish() {
  const std::lock_guard lock(mutex_);
  const Scheduler& scheduler = core_.scheduler();
  stats_ = core_.stats();
  stats_.num_requests_waiting = scheduler.num_waiting();
  stats_.num_sequences_running = scheduler.num_running();
  stats_.num_sequences_preempted = scheduler.num_preempted();
  stats_.cached_blocks = core_.pool().cached_count();
  stats_.kv_cache_usage = core_.kv_cache_usage();
  num_unfinished_ -= std::exchange(num_ended_, 0);
  idle_.notify_all();
}

}  // namespace warploom
