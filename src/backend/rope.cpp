#include <algorithm>
#include <cmath>

#include "backend/ops.h"

namespace warploom {

std::vector<double> rope_frequencies(const RopeParams& params, const float* factors) {
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < params.dims / 2; ++i) {
    double frequency =
        std::pow(static_cast<double>(params.base), -2.0 * static_cast<double>(i) / static_cast<double>(params.dims));
    if (factors) frequency /= static_cast<double>(factors[i]);
    // YaRN (Peng et al. 2023, arXiv:2309.00071): fast pairs keep their frequency, slow ones are interpolated.
    const double span = std::max(0.001, static_cast<double>(params.yarn_high) - static_cast<double>(params.yarn_low));
    const double ramp = std::clamp((static_cast<double>(i) - static_cast<double>(params.yarn_low)) / span, 0.0, 1.0);
    const double keep = (1.0 - ramp) * static_cast<double>(params.yarn_ext_factor);
    frequencies.push_back(frequency * (static_cast<double>(params.frequency_scale) * (1.0 - keep) + keep));
  }
  return frequencies;
}

QkvViews split_qkv(float* qkv, std::int64_t num_heads, std::int64_t num_kv_heads, std::int64_t head_dim) {
  const std::int64_t stride = (num_heads + 2 * num_kv_heads) * head_dim;
  float* keys = qkv + num_heads * head_dim;
  return {{qkv, DType::f32, stride}, {keys, DType::f32, stride}, {keys + num_kv_heads * head_dim, DType::f32, stride}};
}

}  // namespace warploom
