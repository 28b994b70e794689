// Chooses the instantiation of a kernel for a cache.
#pragma once

#include "cuda/toolkit/attention/storage.cuh"
#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// The heads that an instantiation is for. Plain: exactly kMax dimensions and no soft cap, so that its loops have no branches.
/// Else up to kMax dimensions and perhaps a cap.
template <int kMaxDims, bool kIsPlain>
struct HeadDim {
  static constexpr int kMax = kMaxDims;
  static constexpr bool kPlain = kIsPlain;
  __device__ static int of(const KvCacheView& cache) { return kPlain ? kMax : static_cast<int>(cache.head_dim); }
};

/// Calls f(storage, dim): a device::HalfStorage or device::FloatStorage, and a HeadDim.
template <class F>
auto with_variant(const PagedAttentionArgs& a, F&& f) {
  const auto any = [&](auto storage) {
    return a.cache.head_dim <= 128 ? f(storage, HeadDim<128, false>()) : f(storage, HeadDim<256, false>());
  };
  const auto usual = [&](auto storage) {
    const std::int64_t dim = a.soft_cap > 0.0f ? 0 : a.cache.head_dim;
    if (dim == 64) return f(storage, HeadDim<64, true>());
    if (dim == 128) return f(storage, HeadDim<128, true>());
    if (dim == 256) return f(storage, HeadDim<256, true>());
    return any(storage);
  };
  if (a.cache.type == DType::f16) return usual(device::HalfStorage<__half>());
  if (a.cache.type == DType::bf16 && a.round_to_bf16) return usual(device::HalfStorage<__nv_bfloat16, 1>());
  if (a.cache.type == DType::bf16) return usual(device::HalfStorage<__nv_bfloat16>());
  return any(device::FloatStorage());
}

}  // namespace warploom::cuda
