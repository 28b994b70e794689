// What a forward pass needs to know of a model, read from a GGUF file's metadata and checked against its tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/ops.h"
#include "warploom/model.h"

namespace warploom {

struct ModelConfig {
  ModelShape shape;
  float norm_epsilon = 1e-5f;
  float softmax_scale = 0.0f;       // 1 / sqrt(head_dim) unless the file says otherwise
  std::int64_t sliding_window = 0;  // 0: none
  RopeParams rope;
  std::vector<float> rope_factors;   // [rope.dims / 2] or empty
  bool tie_word_embeddings = false;  // the output matrix is the embedding
};

/// Architectures: llama (rotates adjacent pairs) and qwen2 (rotates halves). Throws ModelError where the file's architecture is
/// another, a key is missing or out of range, or the shapes contradict one another.
ModelConfig read_config(const class GgufFile& file);

}  // namespace warploom
