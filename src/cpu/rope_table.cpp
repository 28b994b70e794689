#include "cpu/rope_table.h"

#include <cmath>

namespace warploom::cpu {

RopeTable::RopeTable(const RopeParams& params, const float* factors)
    : params_(params), frequencies_(rope_frequencies(params, factors)) {}

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
      const auto cosine = static_cast<float>(std::cos(angle) * static_cast<double>(params_.mscale));
      const auto sine = static_cast<float>(std::sin(angle) * static_cast<double>(params_.mscale));
      const std::int64_t first = params_.interleaved ? 2 * i : i;
      const std::int64_t second = params_.interleaved ? 2 * i + 1 : i + params_.dims / 2;
      own[first] = own[second] = cosine;
      partner[first] = -sine;
      partner[second] = sine;
    }
  }
}

}  // namespace warploom::cpu
