// What a forward pass needs to know of a model, read from its checkpoint and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/ops.h"
#include "checkpoint/checkpoint.h"
#include "warploom/model.h"

namespace warploom {

struct RopeConfig {
  RopeParams params;
  std::vector<float> factors;  // [params.dims / 2] or empty
};

/// What may differ from layer to layer.
struct LayerConfig {
  std::int64_t num_heads = 0;  // all of these <= what ModelShape says
  std::int64_t num_kv_heads = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t sliding_window = 0;  // 0: none
  std::size_t rope = 0;             // into ModelConfig::ropes
};

struct ModelConfig {
  ModelShape shape;  // num_heads, num_kv_heads, intermediate_size: the largest of all layers
  float norm_epsilon = 1e-5f;
  float softmax_scale = 0.0f;  // 1 / sqrt(head_dim) unless the checkpoint says otherwise
  std::vector<RopeConfig> ropes;
  std::vector<LayerConfig> layers;  // [shape.num_layers]
};

/// A cache that has room for every layer, as this layer uses it.
KvCacheView layer_view(KvCacheView cache, const LayerConfig& layer);

/// Throws ModelError if the architecture is not supported (src/model/registry.cpp), a value is missing or out of range, or the
/// shapes contradict one another.
[[nodiscard]] ModelConfig read_config(const Checkpoint& checkpoint);

}  // namespace warploom
