// One row of logits as the passes see it: widened, penalised, biased and masked on the fly.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/sampling_math.h"
#include "cuda/device/team.cuh"
#include "warploom/cuda/sampling.h"

namespace warploom::cuda::device {

// The row's parameters, defaults filled in.
struct RowParams {
  float temperature, top_p, min_p, repetition, frequency, presence;
  std::int64_t top_k;
  u64 seed, position;
  u32 stream;

  __device__ RowParams(const SampleArgs& a, std::int64_t r)
      : temperature(a.temperature ? a.temperature[r] : 1.0f),
        top_p(a.top_p ? a.top_p[r] : 1.0f),
        min_p(a.min_p ? a.min_p[r] : 0.0f),
        repetition(a.repetition_penalty ? a.repetition_penalty[r] : 1.0f),
        frequency(a.frequency_penalty ? a.frequency_penalty[r] : 0.0f),
        presence(a.presence_penalty ? a.presence_penalty[r] : 0.0f),
        top_k(a.top_k ? a.top_k[r] : 0),
        seed(a.seed ? a.seed[r] : 0),
        position(a.position ? a.position[r] : 0),
        stream(a.stream ? a.stream[r] : 0) {}

  // As validate() of the host.
  __device__ bool valid() const {
    return temperature >= 0.0f && isfinite(temperature) && top_k >= 0 && top_p > 0.0f && min_p >= 0.0f && min_p <= 1.0f &&
           repetition > 0.0f && isfinite(repetition) && isfinite(frequency) && isfinite(presence);
  }
};

// Tokens that a penalty or a bias may touch are marked in a bit map, so that all others pass at the price of one look.
inline constexpr u32 kMarkBits = 1u << 17;

template <typename T, bool kSparse>
class Row {
 public:
  // marks: kMarkBits bits of shared memory where kSparse.
  __device__ Row(const SampleArgs& a, std::int64_t r, const RowParams& params, bool aligned, u32* marks)
      : vocab_(static_cast<int>(a.vocab)), aligned_(aligned), params_(params), marks_(marks) {
    logits_ = static_cast<const T*>(a.logits) + (a.row_index ? a.row_index[r] : r) * a.row_stride;
    if constexpr (kSparse) {
      allowed_ = a.allowed ? a.allowed + r * a.allowed_stride : nullptr;
      const bool penalised = params.repetition != 1.0f || params.frequency != 0.0f || params.presence != 0.0f;
      if (a.history && penalised) {
        history_ = a.history + a.history_offsets[r];
        history_count_ = a.history_offsets[r + 1] - a.history_offsets[r];
      }
      if (a.bias) {
        bias_ = a.bias + a.bias_offsets[r];
        bias_count_ = a.bias_offsets[r + 1] - a.bias_offsets[r];
      }
    }
  }

  __device__ int vocab() const { return vocab_; }

  // Marks what is touched, by the whole block. True where a token is out of range.
  __device__ bool mark() {
    if constexpr (!kSparse) {
      return false;
    } else {
      for (u32 i = threadIdx.x; i < kMarkBits / 32; i += kThreads) marks_[i] = 0;
      __syncthreads();
      bool bad = false;
      const auto one = [&](TokenId token) {
        if (token < 0 || token >= vocab_) {
          bad = true;
        } else {
          atomicOr(&marks_[static_cast<u32>(token) % kMarkBits / 32], 1u << (token % 32));
        }
      };
      for (std::int64_t i = threadIdx.x; i < history_count_; i += kThreads) one(history_[i]);
      for (std::int64_t i = threadIdx.x; i < bias_count_; i += kThreads) one(bias_[i].token);
      return __syncthreads_or(bad);
    }
  }

  // Four logits as they stand in memory, -inf from `end` on.
  __device__ void load(int at, int end, float (&x)[4]) const {
    if (aligned_ && at + 4 <= end) {
      if constexpr (sizeof(T) == 4) {
        const float4 v = *reinterpret_cast<const float4*>(logits_ + at);
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
      } else {
        const uint2 v = *reinterpret_cast<const uint2*>(logits_ + at);
        T half[4];
        memcpy(half, &v, sizeof half);
        for (int j = 0; j < 4; ++j) x[j] = static_cast<float>(half[j]);
      }
    } else {
      for (int j = 0; j < 4; ++j) x[j] = at + j < end ? static_cast<float>(logits_[at + j]) : -INFINITY;
    }
  }

  // Section 1 of the contract for one logit.
  __device__ float adjust(int id, float y) const {
    if constexpr (kSparse) {
      if (allowed_ && (allowed_[id / 32] >> (id % 32) & 1u) == 0) return -INFINITY;
      if (marks_[static_cast<u32>(id) % kMarkBits / 32] >> (id % 32) & 1u) {
        u32 times = 0;
        for (std::int64_t i = 0; i < history_count_; ++i) times += history_[i] == id;
        if (times > 0) {
          if (params_.repetition != 1.0f) y = y > 0.0f ? __fdiv_rn(y, params_.repetition) : __fmul_rn(y, params_.repetition);
          if (params_.frequency != 0.0f) y = __fadd_rn(y, -__fmul_rn(params_.frequency, static_cast<float>(times)));
          if (params_.presence != 0.0f) y = __fadd_rn(y, -params_.presence);
        }
        for (std::int64_t i = 0; i < bias_count_; ++i)
          if (bias_[i].token == id) y = __fadd_rn(y, bias_[i].bias);
      }
    }
    return y;
  }

 private:
  const T* logits_;
  int vocab_;
  bool aligned_;
  const RowParams& params_;
  u32* marks_;
  const u32* allowed_ = nullptr;
  const TokenId* history_ = nullptr;
  const LogitBias* bias_ = nullptr;
  std::int64_t history_count_ = 0, bias_count_ = 0;
};

// Calls visit(id, raw, adjusted) for every token of this part, and done(segment) when a warp has finished one.
template <class R, class Visit, class Done>
__device__ __forceinline__ void for_each_token(const R& row, const Team& team, Visit visit, Done done) {
  const int lane = threadIdx.x % 32;
  for (int s = threadIdx.x / 32; s < team.shape().segments; s += kWarps) {
    const int from = team.first() + s * team.shape().segment;
    const int end = min(from + team.shape().segment, row.vocab());
#pragma unroll 1
    for (int at = from + 4 * lane; at < end; at += kStep) {
      float x[4];
      row.load(at, end, x);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (at + j < end) visit(at + j, x[j], row.adjust(at + j, x[j]));
    }
    __syncwarp();
    done(s);
  }
}

__device__ inline u64 warp_sum(u64 value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// Finds in segment s, by one whole warp, the token at which the running sum of mass(id, y), in ascending id, exceeds `rest`.
// True in the one lane that found it, which gets its id and logit.
template <class R, class Mass>
__device__ bool walk(const R& row, const Team& team, int s, u64 rest, Mass mass, int& id, float& logit) {
  const int lane = threadIdx.x % 32;
  const int from = team.first() + s * team.shape().segment;
  const int end = min(from + team.shape().segment, row.vocab());
  u64 before = 0;
  for (int base = from; base < end; base += kStep) {
    float x[4];
    u64 masses[4], sum = 0;
    row.load(base + 4 * lane, end, x);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int at = base + 4 * lane + j;
      x[j] = at < end ? row.adjust(at, x[j]) : x[j];
      masses[j] = at < end ? mass(at, x[j]) : 0;
      sum += masses[j];
    }
    u64 until = sum;
    for (int step = 1; step < 32; step *= 2) {
      const u64 other = __shfl_up_sync(kAllLanes, until, step);
      until += lane >= step ? other : 0;
    }
    const u64 all = __shfl_sync(kAllLanes, until, 31);
    if (before + all <= rest) {
      before += all;
      continue;
    }
    u64 left = rest - (before + until - sum);  // wraps in the lanes behind
    if (rest < before + until - sum || before + until <= rest) return false;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (left < masses[j]) {
        id = base + 4 * lane + j;
        logit = x[j];
        return true;
      }
      left -= masses[j];
    }
  }
  return false;
}

}  // namespace warploom::cuda::device
