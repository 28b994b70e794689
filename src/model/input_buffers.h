// One step's input, and how it lies in the memory that one transfer brings to the device.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "warploom/sampling.h"

namespace warploom {

/// Tokens of several sequences, each sequence's tokens adjacent and in order; sequence i's are the i-th. Host memory.
struct ModelInput {
  std::vector<TokenId> ids;                // [tokens]
  std::vector<std::int32_t> positions;     // [tokens]
  std::vector<std::int32_t> sequences;     // [tokens], index into block_tables' rows, ascending by at most one from 0
  std::vector<std::int32_t> block_tables;  // [sequences, max_blocks_per_seq]
  std::int64_t max_blocks_per_seq = 0;
  std::vector<std::int32_t> outputs;  // indices into ids of the tokens whose logits are wanted; may be empty

  void clear();
};

/// What the step buffers of a session hold at most.
struct BatchLimits {
  std::int64_t max_tokens = 0;
  std::int64_t max_outputs = 0;
  std::int64_t max_sequences = 0;
  std::int64_t max_blocks_per_seq = 0;  // block-table entries of a sequence
  std::int64_t history = 0;             // tokens that penalties count, over all rows of a step
  std::int64_t biases = 0;              // logit biases, over all rows of a step
  std::int64_t mask_words = 0;          // of masks of allowed tokens, over all rows of a step, those without one too
  DType kv_type = DType::f16;           // of the cache
  std::int64_t kv_block_size = 16;
};

/// Where the parts of a step lie on the device.
struct DeviceBatch {
  const TokenId* ids = nullptr;
  const std::int32_t* outputs = nullptr;
  AttentionMetadata metadata;
  SampleArgs sample;  // parameters; no logits and no results
  GraphKey key;       // without what is drawn
};

/// Memory for the inputs of any step within the limits. Everything lies packed: where follows from the key alone.
class InputBuffers {
 public:
  InputBuffers(Backend& backend, const BatchLimits& limits);

  /// Packs a step in which `rows` (none, or one an output) draw tokens. A decode step is filled up with padding tokens as
  /// the backend wants it. Throws InvalidArgument where it exceeds the limits.
  DeviceBatch pack(const ModelInput& input, std::span<const SamplingInput> rows);

  StagingBuffer& memory() const { return *memory_; }

 private:
  Backend& backend_;
  BatchLimits limits_;
  std::unique_ptr<StagingBuffer> memory_;
};

}  // namespace warploom
