// Runs batches through a model: packs their input, calls the forward pass, and draws tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/input_buffers.h"
#include "model/activations.h"
#include "model/decoder_model.h"
#include "warploom/sampling.h"

namespace warploom {

/// Owns every buffer of a step. One per KV cache, which must outlive it, as the model must. Not thread-safe; takes the backend's
/// step_mutex for each call, so that several runners can share a backend.
class ModelRunner {
 public:
  /// Throws OutOfMemory.
  ModelRunner(const DecoderModel& model, KvCache& cache, const BatchLimits& limits);

  /// Copies blocks, computes the batch and waits for it. `results` has one entry for each of input.rows: token and status, and the
  /// log-probability if `logprobs`. The input must be within the limits; debug builds check it.
  void run(const ModelInput& input, bool logprobs, std::span<SampleResult> results);

  /// The last step's logits, [num_logits, vocab_size], to host memory. Throws InvalidArgument if `out` is not of that size.
  void download_logits(std::span<float> out);

 private:
  void check(const ModelInput& input, std::span<const SampleResult> results) const;

  /// What the device drew: log-probabilities, tokens, then statuses.
  struct OutputBuffers {
    OutputBuffers(Backend& backend, std::int64_t rows);
    void place(SampleArgs& args, bool logprobs) const;
    SampleResult result(std::size_t row, bool logprobs) const;

    std::size_t tokens, statuses;  // bytes from the start
    std::unique_ptr<StagingBuffer> memory;
  };

  const DecoderModel& model_;
  KvCache& cache_;
  Backend& backend_;
  BatchLimits limits_;
  InputBuffers inputs_;
  OutputBuffers outputs_;
  Activations activations_;
  std::unique_ptr<Buffer> sample_workspace_;
  std::int64_t num_logits_ = 0;
};

}  // namespace warploom
