#include "checkpoint/file_type.h"

#include <array>

#include "core/quant_group.h"

namespace warploom {

namespace {

constexpr auto kFileTypes = std::to_array<FileType>({{"F32", WeightType::f32},
                                                     {"F16", WeightType::f16},
                                                     {"BF16", WeightType::bf16},
                                                     {"Q4_0", WeightType::q4_0},
                                                     {"Q4_1", WeightType::q4_1},
                                                     {"Q5_0", WeightType::q5_0},
                                                     {"Q5_1", WeightType::q5_1},
                                                     {"Q8_0", WeightType::q8_0},
                                                     {"Q4_K_S", WeightType::q4_k},
                                                     {"Q4_K_M", WeightType::q4_k},
                                                     {"Q5_K_S", WeightType::q5_k},
                                                     {"Q5_K_M", WeightType::q5_k},
                                                     {"Q6_K", WeightType::q6_k}});

// The first and the last eighth of the layers, and every third between them.
bool has_more_bits(std::int64_t layer, std::int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

WeightType wanted_type(const FileType& file_type, const TensorName& name, std::int64_t layers, bool tied) {
  const WeightType base = file_type.base;
  if (!is_quantised(base)) return base;
  if (name.role == TensorRole::lm_head || (tied && name.role == TensorRole::embed_tokens))
    return base == WeightType::q8_0 ? base : WeightType::q6_k;
  const bool value = name.role == TensorRole::v_proj, down = name.role == TensorRole::down_proj;
  if (!value && !down) return base;
  if (file_type.name.ends_with("_K_M")) return has_more_bits(name.layer, layers) ? WeightType::q6_k : base;
  if (file_type.name == "Q4_K_S") return name.layer < (value ? 4 : layers / 8) ? WeightType::q5_k : base;
  return base;
}

// For rows that are no whole number of blocks.
WeightType smaller_blocks(WeightType type) {
  switch (type) {
    case WeightType::q4_k: return WeightType::q5_0;
    case WeightType::q5_k: return WeightType::q5_1;
    case WeightType::q6_k: return WeightType::q8_0;
    default: return WeightType::f16;
  }
}

}  // namespace

std::span<const FileType> file_types() { return kFileTypes; }

WeightType matrix_type(const FileType& file_type, const TensorName& name, std::int64_t cols, std::int64_t num_layers,
                       bool tied) {
  WeightType type = wanted_type(file_type, name, num_layers, tied);
  while (cols % traits(type).block != 0) type = smaller_blocks(type);
  return type;
}

}  // namespace warploom
