// Repacks weights from the file's layout into that of the kernels (packed.h), on the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"
#include "cuda/backend/matmul/packed.h"
#include "warploom/types.h"

namespace warploom::cuda {

/// `value` as f16 or bf16, rounded to nearest even. Finite values beyond f16's range become +-65504; NaN and infinities
/// stay.
std::uint16_t narrow(float value, DType type);

/// Packs the tile rows [begin, end) of a part. out: (end - begin) * col_tiles * tile_bytes(format) bytes.
void pack_tiles(const WeightView& part, TileFormat format, DType type, std::int64_t begin, std::int64_t end, std::byte* out);

/// The same of rows that alternate, 8 of gate and 8 of up. Both have the same shape and format, and a multiple of 8 rows.
void pack_alternating_tiles(const WeightView& gate, const WeightView& up, TileFormat format, DType type, std::int64_t begin,
                            std::int64_t end, std::byte* out);

/// Converts the rows [begin, end) of a part to 16-bit floats. Rows of out are `stride` elements apart, with zeros beyond
/// cols.
void pack_rows(const WeightView& part, DType type, std::int64_t begin, std::int64_t end, std::int64_t stride,
               std::uint16_t* out);

}  // namespace warploom::cuda
