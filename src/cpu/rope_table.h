// Cosines and sines of rotary position embedding (Su et al. 2021, arXiv:2104.09864), worked out in double precision once a
// position and kept.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/ops.h"

namespace warploom::cpu {

class RopeTable final : public RopeTables {
 public:
  /// factors: [dims / 2] or null.
  RopeTable(const RopeParams& params, const float* factors);
  RopeView view() override { return {frequencies_.data(), params_.dims, params_.interleaved, params_.mscale, this}; }

  /// Makes rows up to `position` available. Not while another thread reads rows.
  void extend(std::int64_t position);
  /// [2, dims]: what an element is multiplied by, and what its partner is multiplied by before it is added.
  const float* row(std::int64_t position) const { return table_.data() + position * 2 * params_.dims; }

 private:
  RopeParams params_;
  std::vector<double> frequencies_;  // radians a position
  std::vector<float> table_;
};

}  // namespace warploom::cpu
