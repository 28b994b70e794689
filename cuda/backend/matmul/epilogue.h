// What a product of packed weights does with its sums, and where.
#pragma once

#include <cstddef>
#include <cstdint>

#include "warploom/types.h"

namespace warploom::cuda {

struct Epilogue {
  const float* bias = nullptr;  // [rows of the view], of gate and then of up if gated; or null
  void* out = nullptr;          // f32 [tokens, rows]; if gated, of the type of x, [tokens, rows / 2]
  std::int64_t stride = 0;      // elements of out from token to token
  bool gated = false;           // of a view whose rows alternate (packed.h): out = silu(gate) * up

  /// For products of `type` that begin at another token.
  Epilogue from_token(std::int64_t token, DType type) const {
    Epilogue later = *this;
    later.out = static_cast<std::byte*>(out) + token * stride * (gated ? bytes_of(type) : bytes_of(DType::f32));
    return later;
  }
};

}  // namespace warploom::cuda
