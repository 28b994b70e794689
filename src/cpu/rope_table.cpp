#include "cpu/rope_table.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace warploom::cpu {

RopeTable::RopeTable(const RopeParams& params, const float* factors) : params_(params), factors_(factors) {
  for (std::int64_t i = 0; i < params.dims / 2; ++i) {
    double frequency = std::pow(static_cast<double>(params.base), -2.0 * static_cast<double>(i) / static_cast<double>(params.dims));
    if (factors) frequency /= static_cast<double>(factors[i]);
    // YaRN (Peng et al. 2023, arXiv:2309.00071): fast pairs keep their frequency, slow ones are interpolated.
    const double span = std::max(0.001, static_cast<double>(params.yarn_high) - static_cast<double>(params.yarn_low));
    const double ramp = std::clamp((static_cast<double>(i) - static_cast<double>(params.yarn_low)) / span, 0.0, 1.0);
    const double keep = (1.0 - ramp) * static_cast<double>(params.yarn_mix);
    frequencies_.push_back(frequency * (static_cast<double>(params.frequency_scale) * (1.0 - keep) + keep));
  }
}

bool RopeTable::is_for(const RopeParams& params, const float* factors) const {
  return factors == factors_ && params.dims == params_.dims && params.base == params_.base &&
         params.frequency_scale == params_.frequency_scale && params.attention_scale == params_.attention_scale &&
         params.adjacent_pairs == params_.adjacent_pairs && params.yarn_mix == params_.yarn_mix && params.yarn_low == params_.yarn_low && params.yarn_high == params_.yarn_high;
}

void RopeTable::extend(std::int64_t position) {
  constexpr std::int64_t kStep = 64;  // positions added at a time
  const std::int64_t row_floats = 2 * params_.dims;
  std::int64_t have = static_cast<std::int64_t>(table_.size()) / row_floats;
  if (position < have) return;
  const std::int64_t want = (position / kStep + 1) * kStep;
  table_.resize(static_cast<std::size_t>(want * row_floats));
  for (; have < want; ++have) {
    float* own = table_.data() + have * row_floats;
    float* partner = own + params_.dims;
    for (std::int64_t i = 0; i < params_.dims / 2; ++i) {
      const double angle = static_cast<double>(have) * frequencies_[static_cast<std::size_t>(i)];
      const auto cosine = static_cast<float>(std::cos(angle) * static_cast<double>(params_.attention_scale));
      const auto sine = static_cast<float>(std::sin(angle) * static_cast<double>(params_.attention_scale));
      const std::int64_t first = params_.adjacent_pairs ? 2 * i : i;
      const std::int64_t second = params_.adjacent_pairs ? 2 * i + 1 : i + params_.dims / 2;
      own[first] = own[second] = cosine;
      partner[first] = -sine;
      partner[second] = sine;
    }
  }
}

}  // namespace warploom::cpu
