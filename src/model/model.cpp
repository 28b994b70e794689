#include "warploom/model.h"

#include <chrono>
#include <functional>
#include <future>
#include <utility>

#include <fmt/format.h>

#include "checkpoint/checkpoint.h"
#include "model/loaded_model.h"
#include "tokenizer/tokenizer.h"
#include "warploom/error.h"

namespace warploom {

struct Model::State {
  std::unique_ptr<const DecoderModel> decoder;
  std::shared_ptr<const Tokenizer> tokenizer;
  DeviceInfo device;
};

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  return load_model(*open_checkpoint(path), options);
}

Model::Model(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Model::~Model() = default;

const ModelShape& Model::shape() const { return state_->decoder->config().shape; }

std::uint64_t Model::weight_bytes() const { return state_->decoder->weight_bytes(); }

const std::shared_ptr<const Tokenizer>& Model::tokenizer() const { return state_->tokenizer; }

const DeviceInfo& Model::device() const { return state_->device; }

class ModelAccess {
 public:
  static const Model::State& state(const Model& model) { return *model.state_; }
  static std::shared_ptr<const Model> load(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend, DeviceInfo device,
                                           const std::function<void(double)>& progress);
};

std::shared_ptr<const Model> ModelAccess::load(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend,
                                               DeviceInfo device, const std::function<void(double)>& progress) {
  auto state = std::make_unique<Model::State>();
  state->device = std::move(device);
  checkpoint.check_whole();
  // The tokenizer is built while weights are read, or afterwards if the system gives no thread. Its error ends their reading, and
  // counts if both are wrong.
  const TokenizerData data = checkpoint.tokenizer();
  auto tokenizer = std::async(std::launch::async | std::launch::deferred, [&data] { return load_tokenizer(data); });
  const auto take_tokenizer = [&] {
    if (tokenizer.valid()) state->tokenizer = tokenizer.get();
  };
  const std::function<void(double)> watched = [&](double done) {
    if (tokenizer.valid() && tokenizer.wait_for(std::chrono::seconds(0)) == std::future_status::ready) take_tokenizer();
    if (progress) progress(done);
  };
  try {
    state->decoder = load_decoder_model(checkpoint, std::move(backend), watched);
  } catch (const ModelError&) {
    take_tokenizer();
    throw;
  }
  take_tokenizer();
  const std::int64_t vocab_size = state->decoder->config().shape.vocab_size;
  const std::size_t tokens = state->tokenizer->vocab_size();
  if (static_cast<std::int64_t>(tokens) != vocab_size)
    checkpoint.fail(fmt::format("the tokenizer has {} tokens, the embedding {}", tokens, vocab_size));
  return std::shared_ptr<const Model>(new Model(std::move(state)));
}

const DecoderModel& decoder_of(const Model& model) { return *ModelAccess::state(model).decoder; }

std::shared_ptr<const Model> load_model(const Checkpoint& checkpoint, const ModelOptions& options) {
  DeviceInfo device;
  std::unique_ptr<Backend> backend = create_backend(options.device, &device);
  return ModelAccess::load(checkpoint, std::move(backend), std::move(device), options.progress);
}

std::shared_ptr<const Model> load_model(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend) {
  DeviceInfo device;
  device.description = backend->description();
  return ModelAccess::load(checkpoint, std::move(backend), std::move(device), {});
}

}  // namespace warploom
