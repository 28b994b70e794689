// What a forward pass writes on its way: buffers of fixed address, so that a recorded CUDA graph can be replayed over them.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "model/config.h"
#include "model/device_batch.h"

namespace warploom {

/// "Compute type" is Backend::activation_type(), what matrix products read.
struct Activations {
  /// Throws OutOfMemory. `cache`: the shape of the KV cache that attention will read.
  Activations(Backend& backend, const ModelConfig& config, const BatchLimits& limits, const KvCacheShape& cache);

  float* floats(const std::unique_ptr<Buffer>& buffer) const { return static_cast<float*>(buffer->data()); }

  std::unique_ptr<Buffer> residual;   // f32 [tokens, hidden_size]
  std::unique_ptr<Buffer> normed;     // compute type [max(tokens, logits), hidden_size]
  std::unique_ptr<Buffer> qkv;        // f32 [tokens, (num_heads + 2 num_kv_heads) * head_dim]
  std::unique_ptr<Buffer> attended;   // compute type [tokens, num_heads * head_dim]
  std::unique_ptr<Buffer> projected;  // f32 [tokens, hidden_size]: what a block adds to the residual stream
  std::unique_ptr<Buffer> gate_up;    // f32 [tokens, 2 * intermediate_size]
  std::unique_ptr<Buffer> gated;      // compute type [tokens, intermediate_size]
  // What the last layer goes on with, if not every token's logits are wanted.
  std::unique_ptr<Buffer> logits_residual;  // f32 [logits, hidden_size]
  std::unique_ptr<Buffer> logits_queries;   // f32 [logits, num_heads * head_dim]
  std::unique_ptr<Buffer> logits;           // f32 [logits, vocab_size]
  std::unique_ptr<Buffer> attention_workspace;
};

}  // namespace warploom
