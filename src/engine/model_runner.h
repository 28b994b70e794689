// Runs batches through a model: packs their input, calls the forward pass, and draws tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/input_buffers.h"
#include "model/activations.h"
#include "model/decoder_model.h"
#include "warploom/sampling.h"

namespace warploom {

/// Owns every buffer of a step. Not thread-safe; takes the backend's step_mutex for each call, but for the time that the
/// application edits logits, so that several runners can share a backend. The model must outlive it.
class ModelRunner {
 public:
  /// For KV caches of this shape, however many blocks they have. Throws OutOfMemory.
  ModelRunner(const DecoderModel& model, const KvCacheShape& cache, const BatchLimits& limits);
  /// Before the first step. The cache must outlive the last one.
  void use(KvCache& cache) { cache_ = &cache; }

  struct Wanted {
    bool logprobs = false;   // SampleResult::logprob
    int top_logprobs = 0;    // SampleResult::top; of fewer candidates than that, fewer
    bool processed = false;  // some of them by LogprobsMode::processed

    bool operator==(const Wanted&) const = default;
  };

  /// Copies blocks, computes the batch and waits for it. `results` has one entry for each of input.rows: token, status and what
  /// is wanted besides. The input must be within the limits; debug builds check it.
  void run(const ModelInput& input, Wanted wanted, std::span<SampleResult> results);

  std::int64_t vocab_size() const { return model_.config().shape.vocab_size; }
  /// Rows [first, first + out.size() / vocab_size) of the last step's logits, to host memory. Throws InvalidArgument if there
  /// are no such rows.
  void download_logits(std::int64_t first, std::span<float> out);

 private:
  void check(const ModelInput& input, std::span<const SampleResult> results) const;

  void edit_logits(const ModelInput& input, std::unique_lock<FairMutex>& lock);
  void reserve_outputs(Wanted wanted);
  SampleArgs sample_args(SampleArgs args, Wanted wanted) const;

  const DecoderModel& model_;
  KvCache* cache_ = nullptr;
  Backend& backend_;
  BatchLimits limits_;
  InputBuffers inputs_;
  Activations activations_;
  std::unique_ptr<StagingBuffer> outputs_;  // what the device drew
  std::unique_ptr<Buffer> sample_workspace_;
  Wanted reserved_;
  std::vector<float> row_;  // of logits, while it is edited
  std::int64_t num_logits_ = 0;
};

}  // namespace warploom
