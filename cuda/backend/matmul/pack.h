// Weights from a file's layout into the kernels' (packed.h), on the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"
#include "cuda/backend/matmul/packed.h"
#include "warploom/types.h"

namespace warploom::cuda {

/// `value` as f16 or bf16, to nearest even. Finite values beyond f16's range become +-65504; NaN and infinities stay.
std::uint16_t narrow(float value, DType type);

/// Rows of tiles `begin` to `end` of a part to `out`, (end - begin) * col_tiles * tile_bytes(format) bytes.
void pack_tiles(const WeightView& part, TileFormat format, DType type, std::int64_t begin, std::int64_t end, std::byte* out);

/// Rows `begin` to `end` of a part to `out`, 16 bits an element, rows `stride` elements apart, zeros behind their end.
void pack_rows(const WeightView& part, DType type, std::int64_t begin, std::int64_t end, std::int64_t stride,
               std::uint16_t* out);

}  // namespace warploom::cuda
