// A step's input, and how it is packed into the memory that one transfer brings to the device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/device_batch.h"
#include "warploom/block_table.h"
#include "warploom/sampling.h"

namespace warploom {

/// One sequence's part of a batch.
struct SequenceInput {
  std::int64_t num_tokens = 0;      // its next ones in ModelInput::token_ids
  std::int64_t first_position = 0;  // of the first of them
  std::span<const std::int32_t> block_table;
  std::int64_t num_logits = 0;  // how many of its last tokens need logits
};

/// What decides the token that a row of logits draws.
struct SampledRow {
  std::int64_t logits_row = 0;  // which row of the step's logits it draws from
  const SamplingParams* params = nullptr;
  std::uint64_t position = 0;
  std::uint32_t subsequence = 0;
  std::span<const TokenId> prompt, output;  // that are penalised
  bool penalize_prompt = false;             // as Request::penalize_prompt
  std::span<const LogitBias> bias;
  std::span<const std::uint32_t> allowed;             // bit mask over the vocabulary; empty: all
  bool processed_logprobs = false;                    // report LogprobsMode::processed
  std::function<void(std::span<float>)> edit_logits;  // before anything else; empty: nothing to do
};

/// One step. Views into it must stay valid until the step has run.
struct ModelInput {
  std::vector<BlockCopy> copies;  // to do first, in this order
  std::vector<TokenId> token_ids;
  std::vector<SequenceInput> sequences;
  std::vector<SampledRow> rows;  // those that draw, by logits_row

  std::int64_t num_logits() const;
  void clear();
};

/// Where a step's parts are on the device.
struct PackedInput {
  DeviceBatch batch;
  SampleArgs sample;       // parameters; no logits and no results
  std::size_t bytes = 0;   // of the memory that it fills
  bool is_decode = false;  // every sequence has one token and draws the next
};

/// Memory for the inputs of any step within the limits. Steps of equal sizes lie in it alike.
class InputBuffers {
 public:
  InputBuffers(Backend& backend, const BatchLimits& limits);

  /// Fills the memory. A step that only decodes is filled up with padding tokens to one of the backend's graph batch sizes. May
  /// replace the memory by larger memory for long lists of penalised tokens and biases; throws OutOfMemory.
  PackedInput pack(const ModelInput& input);

  StagingBuffer& memory() const { return *memory_; }

 private:
  Backend& backend_;
  BatchLimits limits_;
  std::unique_ptr<StagingBuffer> memory_;
};

}  // namespace warploom
