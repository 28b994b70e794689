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

/// Owns every buffer of a step. Not thread-safe; takes the backend's step_mutex for each call, so that several runners can share a
/// backend. The model must outlive it.
class ModelRunner {
 public:
  /// For KV caches of this shape, however many blocks they have. Throws OutOfMemory.
  ModelRunner(const DecoderModel& model, const KvCacheShape& cache, const BatchLimits& limits);
  /// Before the first step. The cache must outlive the last one.
  void use(KvCache& cache) { cache_ = &cache; }

  struct Wanted {
    bool logprobs = false;  // SampleResult::logprob
    int top_logprobs = 0;   // SampleResult::top; of fewer candidates than that, fewer
  };

  /// Copies blocks, computes the batch and waits for it. `results` has one entry for each of input.rows: token, status and what is
  /// wanted besides. The input must be within the limits; debug builds check it.
  void run(const ModelInput& input, Wanted wanted, std::span<SampleResult> results);

  /// The last step's logits, [num_logits, vocab_size], to host memory. Throws InvalidArgument if `out` is not of that size.
  void download_logits(std::span<float> out);

 private:
  void check(const ModelInput& input, std::span<const SampleResult> results) const;

  void reserve_outputs(Wanted wanted);
  SampleArgs sample_args(SampleArgs args, Wanted wanted) const;
  static void read_results(const SampleArgs& drawn, std::span<SampleResult> results);

  const DecoderModel& model_;
  KvCache* cache_ = nullptr;
  Backend& backend_;
  BatchLimits limits_;
  InputBuffers inputs_;
  Activations activations_;
  std::unique_ptr<StagingBuffer> outputs_;  // what the device drew
  std::unique_ptr<Buffer> sample_workspace_;
  int reserved_top_logprobs_ = 0;
  std::int64_t num_logits_ = 0;
};

}  // namespace warploom
