// Weights from the file's layout into the kernels' (packed.h), once at load. Codes and scales stay as they are in the file.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/ops.h"
#include "core/tensor.h"
#include "cpu/packed.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

struct FreeBytes {
  std::size_t mapped = 0;  // 0: from malloc
  void operator()(std::byte* p) const;
};
using AlignedBytes = std::unique_ptr<std::byte[], FreeBytes>;
/// Zeroed, on a 64-byte boundary; large ones take memory only where they are touched. Throws OutOfMemory naming `what`.
AlignedBytes allocate_bytes(std::size_t bytes, const char* what);

/// Rows of one type.
struct PackedSegment {
  PackedFormat format;
  std::int64_t first_row = 0;  // in the whole weight
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::size_t panel_bytes = 0;
  AlignedBytes panels;  // [ceil(rows / 16)] panels; rows beyond the last are zero

  std::int64_t panel_count() const { return (rows + kPanelRows - 1) / kPanelRows; }
  std::size_t bytes() const { return static_cast<std::size_t>(panel_count()) * panel_bytes; }
};

class PackedWeight final : public Weight {
 public:
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  std::uint64_t bytes() const override;
  bool quantised() const;   // some segment needs quantised inputs
  bool has_floats() const;  // some segment reads inputs as they are
  const std::vector<PackedSegment>& segments() const { return segments_; }

 private:
  friend std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, ThreadPool& pool);
  std::vector<PackedSegment> segments_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
};

/// Stacks the parts' rows. Throws InvalidArgument where their widths differ or there are none, OutOfMemory.
std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, ThreadPool& pool);

/// One row as f32, bit for bit what the file's own format means. out: [cols].
void unpack_row(const PackedWeight& weight, std::int64_t row, float* out);

}  // namespace warploom::cpu
