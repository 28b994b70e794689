#include "warploom/generator.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "engine/check_request.h"
#include "engine/engine_core.h"
#include "engine/prepare_request.h"
#include "engine/prompt_logprobs.h"
#include "engine/within.h"
#include "warploom/error.h"

namespace warploom {

namespace {

std::vector<PreparedRequest> prepare(std::span<const Request> requests, const Tokenizer& tokenizer,
                                     const ModelShape& shape) {
  std::vector<PreparedRequest> prepared;
  for (const Request& request : requests) {
    prepared.push_back(prepare_request(request, tokenizer, shape));
    prepared.back().group->request_id = prepared.size() - 1;
  }
  return prepared;
}

/// Runs requests to their ends on an engine that has no others. When it returns or throws, the engine has none of them left.
std::vector<RequestOutput> run(EngineCore& core, std::vector<PreparedRequest> requests, const Callbacks& callbacks) {
  std::vector<RequestOutput> outputs(requests.size());
  const OnToken take = [&](const TokenEvent& event) {
    if (event.last) outputs[event.request] = core.take_output(event.request);
    return true;
  };
  const OnToken on_token = [&](const TokenEvent& event) {
    take(event);
    const bool go_on = !callbacks.on_token || callbacks.on_token(event);
    if (event.last && callbacks.on_output) callbacks.on_output(event.request, outputs[event.request]);
    return go_on;
  };
  const auto abort_all = [&core](const OnToken& report) {
    for (const std::uint64_t id : core.unfinished()) core.abort(id, FinishReason::cancelled, report);
  };
  try {
    for (PreparedRequest& request : requests) core.add(std::move(request));
    while (core.has_unfinished()) {
      if (callbacks.should_abort && callbacks.should_abort()) {
        abort_all(on_token);
        break;
      }
      core.step(on_token);
    }
  } catch (...) {
    abort_all(take);
    core.forget_ended();
    throw;
  }
  return outputs;
}

}  // namespace

std::vector<RequestOutput> generate(const std::shared_ptr<const Model>& model, std::span<const Request> requests,
                                    const EngineOptions& options, const Callbacks& callbacks) {
  if (!model) throw InvalidArgument("model is null");
  check_options(options);
  if (requests.empty()) return {};
  std::vector<PreparedRequest> prepared = prepare(requests, *model->tokenizer(), model->shape());
  EngineOptions fitted = options;
  std::int64_t sequences = 0;
  EngineCore::Expected expected;
  for (const PreparedRequest& request : prepared) {
    sequences += request.group->n;
    if (request.group->prompt_logprobs) expected.num_logits = kScoredAtOnce;
  }
  fitted.max_num_seqs = std::min(options.max_num_seqs, sequences);
  if (fitted.kv_cache_share == 0) fitted.kv_cache_share = 0.875;  // it goes when the call ends
  expected.kv_tokens = kv_cache_tokens_for(prepared, fitted, model->shape());
  EngineCore core(model, model->tokenizer(), fitted, expected);
  return run(core, std::move(prepared), callbacks);
}

RequestOutput generate(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options,
                       const Callbacks& callbacks) {
  return std::move(generate(model, {&request, 1}, options, callbacks).front());
}

struct Generator::State {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  EngineOptions options;
  std::unique_ptr<EngineCore> core;

  /// Waits for other threads. Throws InvalidArgument if this thread is within generate() already.
  std::unique_lock<std::mutex> lock() {
    if (user == std::this_thread::get_id())
      throw InvalidArgument("a callback must not call the Generator that it was given to");
    return std::unique_lock(mutex);
  }

  std::mutex mutex;
  std::atomic<std::thread::id> user;  // the thread within generate()
};

Generator::Generator(const std::shared_ptr<const Model>& model, const EngineOptions& options)
    : Generator(model, model ? model->tokenizer() : nullptr, options) {}

Generator::Generator(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
                     const EngineOptions& options)
    : state_(std::make_unique<State>()) {
  if (!model) throw InvalidArgument("model is null");
  if (!tokenizer) throw InvalidArgument("tokenizer is null");
  check_options(options);
  state_->model = std::move(model);
  state_->tokenizer = std::move(tokenizer);
  state_->options = options;
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

std::vector<RequestOutput> Generator::generate(std::span<const Request> requests, const Callbacks& callbacks) {
  const auto lock = state_->lock();
  std::vector<PreparedRequest> prepared = prepare(requests, *state_->tokenizer, state_->model->shape());
  if (!state_->core) state_->core = std::make_unique<EngineCore>(state_->model, state_->tokenizer, state_->options);
  const Within within(state_->user);
  return run(*state_->core, std::move(prepared), callbacks);
}

RequestOutput Generator::generate(const Request& request, const Callbacks& callbacks) {
  return std::move(generate({&request, 1}, callbacks).front());
}

std::int64_t Generator::kv_cache_capacity() const {
  const auto lock = state_->lock();
  return state_->core ? state_->core->pool().size() * state_->core->pool().block_size() : 0;
}

std::int64_t Generator::cached_tokens() const {
  const auto lock = state_->lock();
  return state_->core ? state_->core->pool().cached_count() * state_->core->pool().block_size() : 0;
}

void Generator::clear_cache() {
  const auto lock = state_->lock();
  if (state_->core) state_->core->clear_prefix_cache();
}

const std::shared_ptr<const Model>& Generator::model() const { return state_->model; }
const std::shared_ptr<const Tokenizer>& Generator::tokenizer() const { return state_->tokenizer; }

}  // namespace warploom
