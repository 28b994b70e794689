// An engine for applications that serve: requests come and go at any time, from any thread, and share the steps of one model.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "warploom/engine_options.h"
#include "warploom/engine_stats.h"
#include "warploom/export.h"
#include "warploom/kv_cache_event.h"
#include "warploom/model.h"
#include "warploom/request.h"

namespace warploom {

using RequestId = std::uint64_t;
using Seconds = std::chrono::duration<double>;

/// Events of one request or of several, in order, each given out once. A copy is the same queue. Safe to use from several
/// threads.
class WARPLOOM_EXPORT EventQueue {
 public:
  EventQueue();

  /// What is there; may be empty.
  [[nodiscard]] std::vector<TokenEvent> poll();
  /// What is there; if there is nothing, waits for it. Empty if that took longer than `timeout`.
  [[nodiscard]] std::vector<TokenEvent> await(Seconds timeout);
  void push(TokenEvent event);  ///< what an engine does

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Who gets a request's events: a queue, or a callback on the engine's thread (the one that calls step(), if the engine has
/// none). No lock is held during the callback, which may call everything of the engine but step(), drain() and shutdown(), and
/// may wait for no request. While it runs, no other request makes progress. If it throws, it is not called again, and its
/// request ends as `error`.
using EventReceiver = std::variant<EventQueue, OnToken>;

/// A request that was submitted. A copy is the same request. Dropping all of them does not cancel it. Safe to use from several
/// threads, also after the engine is gone.
class WARPLOOM_EXPORT RequestHandle {
 public:
  RequestId id() const;
  /// The queue that gets the request's events; if a callback gets them, it stays empty.
  EventQueue& events();
  void cancel() const;  ///< as Engine::cancel()

  bool finished() const;
  /// Waits for the end, after the last event was delivered; false if that took longer than `timeout`. If the engine has no
  /// thread of its own, another thread must step meanwhile. Throws InvalidArgument in a callback, if the request has not ended.
  [[nodiscard]] bool await_output(Seconds timeout) const;
  /// The same, however long it takes. Valid while a handle lives.
  const RequestOutput& output() const;

 private:
  friend class Engine;
  struct State;
  explicit RequestHandle(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// Runs requests on one model by continuous batching: each step computes what the requests at hand need next, up to
/// EngineOptions::max_num_batched_tokens tokens. A request's tokens and log-probabilities depend on the request alone, bit for
/// bit, whatever else runs (on CUDA this requires CudaOptions::deterministic). Every request ends with a last event and an
/// output, each completion with a reason. Everything may be called from any thread.
class WARPLOOM_EXPORT Engine final {
 public:
  /// Takes memory for the KV cache and the steps. Throws InvalidArgument, OutOfMemory or BackendError.
  explicit Engine(const std::shared_ptr<const Model>& model, const EngineOptions& options = {});
  /// The same with another tokenizer than the model file's.
  Engine(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options = {});
  ~Engine();  ///< as shutdown(); in a callback, the other requests end when the callback has returned
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Queues a request; its prompt is encoded on the calling thread. Throws InvalidArgument or ModelError if it cannot be
  /// honoured as a whole, QueueFull, or EngineStopped. Events may come before it returns.
  RequestHandle submit(Request request, EventReceiver receiver = {});
  /// The same; empty if the queue is full. The request is gone then: pass a copy to try again with it.
  [[nodiscard]] std::optional<RequestHandle> try_submit(Request request, EventReceiver receiver = {});
  /// Ends a request as `cancelled` before the next step. Has no effect on one that has ended.
  void cancel(RequestId id);

  /// Runs one step on the calling thread, if there is anything to do; returns whether more is left. Throws InvalidArgument if
  /// the engine has a thread of its own or another thread is in step(). A failing device does not throw: it ends the requests
  /// as `error`.
  bool step();

  /// Refuses new requests from now on and waits until the others have ended; false if that took longer than `timeout`. Runs
  /// the steps itself if the engine has no thread.
  bool drain(Seconds timeout = Seconds::max());
  /// Refuses new requests, ends the others as `shutdown` after the step in progress, and joins the engine's thread.
  void shutdown();

  EngineStats stats() const;  ///< as of the last step that has ended; after drain() of all steps
  /// Those since the last call, oldest first, as far as they were kept.
  [[nodiscard]] std::vector<IterationStats> take_iteration_stats();
  [[nodiscard]] std::vector<KvCacheEvent> take_kv_cache_events();
  void clear_prefix_cache();  ///< before the next step

  const std::shared_ptr<const Model>& model() const;
  const std::shared_ptr<const Tokenizer>& tokenizer() const;
  const EngineOptions& options() const;

 private:
  friend class RequestHandle;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace warploom
