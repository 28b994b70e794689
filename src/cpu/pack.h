// Repacks weights from the file's layout into that of the kernels (packed.h), once at load. Codes and scales keep their
// bits.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/ops.h"
#include "core/divide.h"
#include "core/tensor.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

/// Consecutive rows of one type.
struct PanelSegment {
  PackedFormat format;
  std::int64_t first_row = 0;  // in the whole weight
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::size_t panel_bytes = 0;
  std::shared_ptr<std::byte[]> panels;  // [panel_count()]; rows beyond the last are zero

  std::int64_t panel_count() const { return ceil_div(rows, kPanelRows); }
  std::size_t bytes() const { return static_cast<std::size_t>(panel_count()) * panel_bytes; }
};

class PackedWeight final : public Weight {
 public:
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  std::uint64_t bytes() const override;
  bool quantised() const;  // at least one segment needs quantised inputs
  const std::vector<PanelSegment>& segments() const { return segments_; }

 private:
  friend std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, WeightMemory& memory, ThreadPool& pool);
  std::vector<PanelSegment> segments_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
};

/// Stacks the rows of the parts. Throws InvalidArgument if there are none or their widths differ, OutOfMemory, and what their
/// sources throw.
std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, WeightMemory& memory, ThreadPool& pool);

/// One row as f32, the very values that the file's format defines. out: [cols].
void unpack_row(const PackedWeight& weight, std::int64_t row, float* out);

}  // namespace warploom::cpu
