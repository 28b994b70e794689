// A weight in device memory.
#pragma once

#include <vector>

#include "backend/ops.h"
#include "cuda/backend/matmul/packed.h"
#include "cuda/runtime/raii.h"

namespace warploom::cuda {

/// Consecutive segments, which one launch handles.
struct PackedPart {
  PackedView view;
  int first_row = 0;  // in the weight
};

class DeviceWeight final : public Weight {
 public:
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  std::uint64_t bytes() const override { return memory_.bytes(); }

  /// Elements between rows of 16-bit floats; 0 if the weight is packed.
  std::int64_t stride() const { return stride_; }
  const void* dense() const { return memory_.data(); }
  const std::vector<PackedPart>& packed() const { return packed_; }
  /// Whether its rows alternate (packed.h); then it is packed, one part of one segment.
  bool alternating() const { return alternating_; }

 private:
  friend class WeightUploader;
  DeviceBuffer memory_;
  std::vector<PackedPart> packed_;
  std::int64_t rows_ = 0, cols_ = 0, stride_ = 0;
  bool alternating_ = false;
};

}  // namespace warploom::cuda
