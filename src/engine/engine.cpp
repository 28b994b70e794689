#include "warploom/engine.h"

#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "engine/engine_state.h"
#include "engine/prepare_request.h"
#include "warploom/error.h"

namespace warploom {

RequestHandle::RequestHandle(std::shared_ptr<State> state) : state_(std::move(state)) {}

RequestId RequestHandle::id() const { return state_->id; }
EventQueue& RequestHandle::events() { return state_->queue; }

void RequestHandle::cancel() const {
  if (const auto engine = state_->engine.lock()) engine->cancel(state_->id);
}

bool RequestHandle::finished() const { return await_output(Seconds(0)); }

bool RequestHandle::await_output(Seconds timeout) const {
  std::unique_lock lock(state_->mutex);
  if (state_->finished || timeout <= Seconds(0)) return state_->finished;
  if (const auto engine = state_->engine.lock()) engine->refuse_in_callback("await_output() and output()");
  return wait_for(state_->done, lock, timeout, [&] { return state_->finished; });
}

const RequestOutput& RequestHandle::output() const {
  (void)await_output(Seconds::max());
  return state_->output;
}

Engine::Engine(const std::shared_ptr<const Model>& model, const EngineOptions& options)
    : Engine(model, model ? model->tokenizer() : nullptr, options) {}

Engine::Engine(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options)
    : state_(std::make_shared<State>(std::move(model), std::move(tokenizer), options, Clock::now)) {
  if (options.own_thread) state_->thread = std::thread([state = state_] { state->run(); });
}

Engine::~Engine() { state_->leave(); }

RequestHandle Engine::submit(Request request, EventReceiver receiver) {
  std::optional<RequestHandle> handle = try_submit(std::move(request), std::move(receiver));
  if (!handle)
    throw QueueFull(fmt::format("{} requests wait; max_queued_requests allows no more", options().max_queued_requests));
  return *std::move(handle);
}

std::optional<RequestHandle> Engine::try_submit(Request request, EventReceiver receiver) {
  if (!state_->has_room()) return std::nullopt;  // before the work of encoding
  PreparedRequest prepared = prepare_request(std::move(request), *tokenizer(), model()->shape());
  auto entry = std::make_shared<RequestHandle::State>();
  if (auto* queue = std::get_if<EventQueue>(&receiver)) entry->queue = *queue;
  if (auto* callback = std::get_if<OnToken>(&receiver)) entry->on_token = std::move(*callback);
  entry->engine = state_;
  if (!state_->submit(std::move(prepared), entry)) return std::nullopt;
  return RequestHandle(std::move(entry));
}

void Engine::cancel(RequestId id) { state_->cancel(id); }

bool Engine::step() {
  if (options().own_thread)
    throw InvalidArgument("step: the engine has a thread of its own; EngineOptions::own_thread is true");
  return std::shared_ptr(state_)->step();  // a callback may destroy the engine
}

bool Engine::drain(Seconds timeout) { return std::shared_ptr(state_)->drain(timeout); }
void Engine::shutdown() { std::shared_ptr(state_)->shutdown(); }
EngineStats Engine::stats() const { return state_->stats(); }
std::vector<IterationStats> Engine::take_iteration_stats() { return state_->iteration_stats.take(); }
std::vector<KvCacheEvent> Engine::take_kv_cache_events() { return state_->kv_cache_events.take(); }
void Engine::clear_prefix_cache() { state_->clear_prefix_cache(); }

const std::shared_ptr<const Model>& Engine::model() const { return state_->model; }
const std::shared_ptr<const Tokenizer>& Engine::tokenizer() const { return state_->tokenizer; }
const EngineOptions& Engine::options() const { return state_->options; }

}  // namespace warploom
