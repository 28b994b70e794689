#include "warploom/generator.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "engine/check_request.h"
#include "engine/engine_core.h"
#include "warploom/error.h"

namespace warploom {

namespace {

/// Runs requests to their ends on an engine that has no others. When it returns or throws, the engine has none of them left.
std::vector<RequestOutput> run(EngineCore& core, std::vector<Request> requests, const Callbacks& callbacks) {
  std::unordered_map<EngineCore::RequestId, std::size_t> index_of;
  std::vector<EngineCore::RequestId> ids;
  EngineCore::OnToken on_token;
  if (callbacks.on_token)
    on_token = [&](EngineCore::RequestId id, TokenEvent event) {
      event.request = index_of.at(id);
      return callbacks.on_token(event);
    };
  try {
    for (Request& request : requests) {
      ids.push_back(core.add(std::move(request)));
      index_of[ids.back()] = ids.size() - 1;
    }
    while (core.has_unfinished()) {
      if (callbacks.should_abort && callbacks.should_abort()) {
        for (const EngineCore::RequestId id : ids) core.abort(id, on_token);
        break;
      }
      core.step(on_token);
    }
  } catch (...) {
    for (const EngineCore::RequestId id : ids) {
      core.abort(id, {});
      core.take_output(id);
    }
    throw;
  }
  std::vector<RequestOutput> outputs;
  for (const EngineCore::RequestId id : ids) outputs.push_back(core.take_output(id));
  return outputs;
}

/// The requests with their prompts as tokens: they are encoded once, although the KV cache is sized before the engine is there.
std::vector<Request> encoded(const Model& model, std::span<const Request> requests) {
  std::vector<Request> all(requests.begin(), requests.end());
  for (Request& request : all) {
    check_request(request, model.shape());
    request.prompt = encode_prompt(*model.tokenizer(), std::move(request.prompt));
    check_prompt(std::get<std::vector<TokenId>>(request.prompt), model.shape());
  }
  return all;
}

}  // namespace

std::vector<RequestOutput> generate(const std::shared_ptr<const Model>& model, std::span<const Request> requests,
                                    const EngineOptions& options, const Callbacks& callbacks) {
  if (!model) throw InvalidArgument("model is null");
  check_options(options);
  if (requests.empty()) return {};
  std::vector<Request> all = encoded(*model, requests);
  EngineOptions fitted = options;
  std::vector<std::int64_t> sizes;
  std::int64_t sequences = 0;
  for (const Request& request : all) {
    sizes.push_back(static_cast<std::int64_t>(std::get<std::vector<TokenId>>(request.prompt).size()));
    sequences += request.n;
  }
  fitted.max_num_seqs = std::min(options.max_num_seqs, sequences);
  if (fitted.kv_cache_share == 0) fitted.kv_cache_share = 0.875;  // it goes when the call ends
  EngineCore core(model, model->tokenizer(), fitted, kv_cache_tokens_for(all, sizes, fitted, model->shape()));
  return run(core, std::move(all), callbacks);
}

RequestOutput generate(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options,
                       const Callbacks& callbacks) {
  return std::move(generate(model, {&request, 1}, options, callbacks).front());
}

/// Notes the calling thread while it lives.
class Within {
 public:
  explicit Within(std::atomic<std::thread::id>& user) : user_(user) { user_ = std::this_thread::get_id(); }
  ~Within() { user_ = std::thread::id(); }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  std::atomic<std::thread::id>& user_;
};

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
  if (!state_->core) state_->core = std::make_unique<EngineCore>(state_->model, state_->tokenizer, state_->options);
  const Within within(state_->user);
  return run(*state_->core, {requests.begin(), requests.end()}, callbacks);
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
