// The forward pass, written once against Backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/input_buffers.h"

namespace warploom {

/// Weights on a backend. Immutable; steps run on StepBuffers.
class DecoderModel {
 public:
  virtual ~DecoderModel() = default;
  virtual const ModelConfig& config() const = 0;
  virtual Backend& backend() const = 0;
  virtual std::uint64_t weight_bytes() const = 0;
};

/// Step buffers of fixed address and the step itself, on one KV cache, which must outlive it. One per user of a model; not thread-safe, takes the backend's
/// step_mutex for each call.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  /// Runs the step; logits of the wanted tokens lie on the device until the next call. rows, where given, has one for each
  /// output, in order: token, status and, where wanted, log-probability of each go to `results`.
  virtual void run(const ModelInput& input, KvCache& cache, std::span<const SamplingInput> rows = {}, bool logprobs = false,
                   std::span<SampleResult> results = {}) = 0;
  virtual void copy_block(KvCache& cache, std::int32_t from, std::int32_t to) = 0;
  /// The last step's logits, [outputs, vocab_size], copied to host memory.
  virtual void download_logits(std::span<float> out) = 0;
  virtual std::uint64_t bytes() const = 0;
};

/// Loads every weight of the checkpoint onto the backend, releasing its memory as it goes. Throws ModelError, OutOfMemory or
/// BackendError.
std::unique_ptr<DecoderModel> load_decoder_model(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend,
                                                 const std::function<void(double)>& progress = {});

std::unique_ptr<ModelRunner> create_runner(const DecoderModel& model, const BatchLimits& limits);

}  // namespace warploom
