// Uploads weights from a model file to device memory.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <span>

#include "core/divide.h"
#include "core/weight_reader.h"
#include "cuda/backend/matmul/matmul.h"
#include "cuda/backend/matmul/weight.h"
#include "cuda/runtime/raii.h"

namespace warploom::cuda {

inline constexpr std::int64_t kMaxCols = std::int64_t{1} << 20;  // a tile row of 16-bit floats then takes 32 MiB

/// Elements between rows of 16-bit floats. Each row starts on a 16-byte boundary.
constexpr std::int64_t dense_stride(std::int64_t cols) { return align_up(cols, 8); }

/// Keeps a staging buffer between weights. Not thread-safe; starts threads of its own. Copies on a stream of its own, so that
/// they never get into a step that another thread is recording.
class WeightUploader {
 public:
  /// Throws BackendError.
  explicit WeightUploader(const MatmulOptions& options) : options_(options), stream_(create_stream()) {}

  /// As Matmul::load_weight.
  std::unique_ptr<DeviceWeight> upload(std::span<const WeightView> parts);
  /// As Matmul::load_gated_weight. Rows alternate if both matrices have the same type and a multiple of 8 rows, and are packed.
  std::unique_ptr<DeviceWeight> upload_gated(const WeightView& gate, const WeightView& up);

 private:
  void upload_alternating(const WeightView& gate, const WeightView& up, DeviceWeight& weight);
  void upload_packed(std::span<const WeightView> parts, DeviceWeight& weight);
  void upload_dense(std::span<const WeightView> parts, DeviceWeight& weight);
  // Copies `units` units of unit_bytes to device memory; `pack(begin, end, out)` writes them to the staging buffer.
  void copy_in_pieces(std::int64_t units, std::size_t unit_bytes, std::byte* to,
                      const std::function<void(std::int64_t, std::int64_t, std::byte*)>& pack);

  WeightReader reader_;
  MatmulOptions options_;
  Stream stream_;
  PinnedBuffer staging_;
};

}  // namespace warploom::cuda
