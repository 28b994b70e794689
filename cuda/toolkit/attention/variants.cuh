// Chooses the instantiation of a kernel for a cache.
#pragma once

#include <type_traits>

#include "cuda/toolkit/attention/storage.cuh"
#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// Calls f(storage, max_head_dim): a device::HalfStorage<T> or device::FloatStorage, and an integral_constant of 64, 128 or
/// 256.
template <class F>
auto with_variant(const KvCacheView& cache, F&& f) {
  const auto with_size = [&](auto storage) {
    if (cache.head_dim <= 64) return f(storage, std::integral_constant<int, 64>());
    if (cache.head_dim <= 128) return f(storage, std::integral_constant<int, 128>());
    return f(storage, std::integral_constant<int, 256>());
  };
  if (cache.type == DType::f16) return with_size(device::HalfStorage<__half>());
  if (cache.type == DType::bf16) return with_size(device::HalfStorage<__nv_bfloat16>());
  return with_size(device::FloatStorage());
}

}  // namespace warploom::cuda
