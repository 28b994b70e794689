// One row of logits as the passes see it: widened, penalised, biased and masked when it is read first.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "core/sampling_math.h"
#include "cuda/toolkit/sampling/team.cuh"
#include "warploom/cuda/sampling.h"

namespace warploom::cuda::device {

// The row's parameters, defaults filled in, and what changes single logits. In shared memory, to spare registers.
struct RowParams {
  float temperature, top_p, min_p, repetition, frequency, presence;
  int top_k;
  u64 seed, position;
  u32 subsequence;
  const u32* allowed;
  const TokenId* history;
  const LogitBias* bias;
  int history_count, count_begin, bias_count;

  __device__ void read(const SampleArgs& a, std::int64_t r) {
    temperature = a.temperature ? a.temperature[r] : a.default_temperature;
    top_p = a.top_p ? a.top_p[r] : 1.0f;
    min_p = a.min_p ? a.min_p[r] : 0.0f;
    repetition = a.repetition_penalty ? a.repetition_penalty[r] : 1.0f;
    frequency = a.frequency_penalty ? a.frequency_penalty[r] : 0.0f;
    presence = a.presence_penalty ? a.presence_penalty[r] : 0.0f;
    top_k = a.top_k ? a.top_k[r] : 0;
    seed = a.seed ? a.seed[r] : 0;
    position = a.position ? a.position[r] : 0;
    subsequence = a.subsequence ? a.subsequence[r] : 0;
    allowed = a.allowed ? a.allowed + r * a.allowed_stride : nullptr;
    const bool penalised = repetition != 1.0f || frequency != 0.0f || presence != 0.0f;
    history = a.history && penalised ? a.history + a.history_offsets[r] : nullptr;
    history_count = history ? static_cast<int>(a.history_offsets[r + 1] - a.history_offsets[r]) : 0;
    const std::int64_t begin = history && a.count_begin ? a.count_begin[r] : 0;
    count_begin = begin >= 0 && begin <= history_count ? static_cast<int>(begin) : -1;
    bias = a.bias ? a.bias + a.bias_offsets[r] : nullptr;
    bias_count = bias ? static_cast<int>(a.bias_offsets[r + 1] - a.bias_offsets[r]) : 0;
  }

  // As validate() of the host.
  __device__ bool valid() const {
    return temperature >= 0.0f && isfinite(temperature) && top_k >= 0 && top_p > 0.0f && min_p >= 0.0f && min_p <= 1.0f &&
           repetition > 0.0f && isfinite(repetition) && isfinite(frequency) && isfinite(presence) && count_begin >= 0;
  }
};

// A row of probabilities: as of logits, but 0 is masked.
struct Probability {
  float value;
  __device__ explicit operator float() const { return value; }
};

// Tokens that a penalty or a bias may touch are marked in a bit map, so that all others pass at the price of one look, but for
// those that share a mark.
inline constexpr u32 kMarkBits = 1u << 16;

// Which tokens stand in the history, and how often from count_begin on: a hash table in shared memory, behind the marks. A slot
// is a token + 1 and above it its count. Slots are never emptied: a token whose kProbes slots all hold others when it first
// comes has none for good. Such tokens, and those of too high a count, are marked in a bit map: whoever shares their bit is
// counted in the history itself.
class HistoryCounts {
 public:
  static constexpr u32 kSlots = 2048, kUncountedBits = 8192;
  static constexpr std::size_t kBytes = kSlots * 4 + kUncountedBits / 8;

  // By the whole block; then __syncthreads().
  static __device__ void clear() {
    for (u32 i = threadIdx.x; i < kBytes / 4; i += kThreads) slots()[i] = 0;
  }
  static __device__ void add(TokenId token, bool counted) {
    const u32 name = static_cast<u32>(token) + 1;
#pragma unroll 1
    for (u32 probe = 0; probe < kProbes; ++probe) {
      u32& slot = slot_of(token, probe);
      const u32 there = atomicCAS(&slot, 0u, name) & kName;
      if (there != 0 && there != name) continue;
      if (!counted || atomicAdd(&slot, kOnce) / kOnce < kMaxTimes) return;
      break;  // the count begins anew, the name stays
    }
    atomicOr(&uncounted(token), 1u << (token % 32));
  }
  // The count + 1; 0 where the token is not in the history.
  static __device__ u32 find(const RowParams& p, TokenId token) {
    if (uncounted(token) >> (token % 32) & 1u) return find_in_history(p, token);
#pragma unroll 1
    for (u32 probe = 0; probe < kProbes; ++probe) {
      const u32 slot = slot_of(token, probe);
      if ((slot & kName) == static_cast<u32>(token) + 1) return slot / kOnce + 1;
      if (slot == 0) return 0;
    }
    return 0;
  }

 private:
  static constexpr u32 kProbes = 32;
  static constexpr u32 kOnce = 1u << 23, kName = kOnce - 1, kMaxTimes = ~0u / kOnce;  // ids are below 2^22
  static __device__ u32* slots() {
    extern __shared__ float4 dynamic[];
    return reinterpret_cast<u32*>(dynamic + kMarkBits / 128);
  }
  // Knuth's multiplicative hash: its top bits, and others for a step of the token's own, so that full slots do not cluster.
  static __device__ u32& slot_of(TokenId token, u32 probe) {
    const u32 hash = static_cast<u32>(token) * 2654435761u;
    return slots()[((hash >> 21) + probe * (hash >> 10 | 1u)) % kSlots];
  }
  static __device__ u32& uncounted(TokenId token) { return slots()[kSlots + static_cast<u32>(token) % kUncountedBits / 32]; }
  static __device__ u32 find_in_history(const RowParams& p, TokenId token) {
    u32 count = 0;
    bool found = false;
#pragma unroll 1
    for (int i = 0; i < p.history_count; ++i) {
      if (p.history[i] != token) continue;
      found = true;
      count += i >= p.count_begin;
    }
    return found ? count + 1 : 0;
  }
};

// Penalties and biases of one token.
__device__ inline float adjust_one(const RowParams& p, int id, float y) {
  const u32 found = p.history_count > 0 ? HistoryCounts::find(p, id) : 0;
  if (found > 0 && p.repetition != 1.0f) y = y > 0.0f ? __fdiv_rn(y, p.repetition) : __fmul_rn(y, p.repetition);
  if (found > 1) {
    if (p.frequency != 0.0f) y = __fadd_rn(y, -__fmul_rn(p.frequency, static_cast<float>(found - 1)));
    if (p.presence != 0.0f) y = __fadd_rn(y, -p.presence);
  }
  for (int i = 0; i < p.bias_count; ++i)
    if (p.bias[i].token == id) y = __fadd_rn(y, p.bias[i].bias);
  return y;
}
// Of four neighbours from `at` on, those whose bit is set. Rare, so a call rather than a copy in each pass; but on sm_120
// the call makes a kernel spill, and on sm_90 the copies do.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
__device__ static __forceinline__
#else
__device__ static __noinline__
#endif
    float4
    adjust_marked(const RowParams& p, u32 marked, int at, float4 y) {
#pragma unroll 1
  for (int j = 0; j < 4; ++j) {
    const float one = (marked >> j & 1u) ? adjust_one(p, at + j, y.x) : y.x;
    y = make_float4(y.y, y.z, y.w, one);
  }
  return y;
}

// What a kernel's dynamic shared memory begins with: marks, and the counts of a history.
__host__ __device__ inline std::size_t sparse_bytes(const SampleArgs& a) {
  if (!a.history && !a.bias && !a.allowed) return 0;
  return kMarkBits / 8 + (a.history ? HistoryCounts::kBytes : 0);
}

template <typename T, bool kSparse>
class Row {
 public:
  using Value = T;
  static constexpr bool kProbabilities = std::is_same_v<T, Probability>;

  // Dynamic shared memory: sparse_bytes() where kSparse, then where `cached` room for the part's logits from `first` on.
  __device__ Row(const SampleArgs& a, std::int64_t r, const RowParams& params, const bool& aligned, const bool& cached,
                 int first)
      : a_(a),
        logits_(static_cast<const T*>(a.logits) + (a.row_index ? a.row_index[r] : r) * a.row_stride),
        params_(params),
        aligned_(aligned),
        cached_(cached),
        first_(first) {}

  __device__ int vocab_size() const { return static_cast<int>(a_.vocab_size); }

  // Marks what is touched of the tokens from `from` to `to`, which are all that the block looks at; by the whole block. True where
  // a token is out of range.
  __device__ bool mark(int from, int to) const {
    if constexpr (!kSparse) {
      return false;
    } else {
      for (u32 i = threadIdx.x; i < kMarkBits / 32; i += kThreads) marks()[i] = 0;
      if (params_.history_count > 0) HistoryCounts::clear();
      __syncthreads();
      bool bad = false;
      const auto one = [&](TokenId token) {
        bad |= token < 0 || token >= vocab_size();
        const bool here = token >= from && token < to;
        if (here) atomicOr(&marks()[static_cast<u32>(token) % kMarkBits / 32], 1u << (token % 32));
        return here;
      };
      for (int i = threadIdx.x; i < params_.history_count; i += kThreads)
        if (one(params_.history[i])) HistoryCounts::add(params_.history[i], i >= params_.count_begin);
      for (int i = threadIdx.x; i < params_.bias_count; i += kThreads) one(params_.bias[i].token);
      return __syncthreads_or(bad);
    }
  }

  // Four logits as they stand in memory, -inf from `end` on.
  __device__ float4 load_raw(int at, int end) const {
    if (aligned_ && at + 4 <= end) {
      if constexpr (sizeof(T) == 4) {
        return *reinterpret_cast<const float4*>(logits_ + at);
      } else {
        const uint2 v = *reinterpret_cast<const uint2*>(logits_ + at);
        return make_float4(widen(v.x), widen(v.x >> 16), widen(v.y), widen(v.y >> 16));
      }
    }
    const auto one = [&](int i) { return i < end ? static_cast<float>(logits_[i]) : -INFINITY; };
    return make_float4(one(at), one(at + 1), one(at + 2), one(at + 3));
  }

  // Four logits as they stand in memory, adjusted; kept where there is room.
  __device__ float4 load_first(int at, int end, bool& invalid) const {
    float4 y = load_raw(at, end);
    invalid |= !(y.x < INFINITY && y.y < INFINITY && y.z < INFINITY && y.w < INFINITY);
    if constexpr (kProbabilities)
      invalid |= (y.x < 0.0f && at < end) || (y.y < 0.0f && at + 1 < end) || (y.z < 0.0f && at + 2 < end) ||
                 (y.w < 0.0f && at + 3 < end);
    y = adjust(at, end, y);
    if (cached_) *cache(at) = y;
    return y;
  }

  // Four adjusted logits, once load_first has seen them all; -inf from `end` on.
  __device__ float4 load(int at, int end) const { return cached_ ? *cache(at) : adjust(at, end, load_raw(at, end)); }

  // One adjusted logit of the whole row.
  __device__ float at(int id) const {
    float y = static_cast<float>(logits_[id]);
    if constexpr (kProbabilities) return unmasked(y);
    if constexpr (kSparse) {
      if (marks()[static_cast<u32>(id) % kMarkBits / 32] >> (id % 32) & 1u)
        y = adjust_marked(params_, 1u, id, make_float4(y, 0.0f, 0.0f, 0.0f)).x;
      if (params_.allowed && (params_.allowed[id / 32] >> (id % 32) & 1u) == 0) y = -INFINITY;
    }
    return y;
  }

 private:
  __device__ static float widen(u32 bits) {
    const auto low = static_cast<unsigned short>(bits);
    if constexpr (std::is_same_v<T, __half>) {
      return __half2float(__ushort_as_half(low));
    } else {
      return __bfloat162float(__ushort_as_bfloat16(low));
    }
  }
  __device__ static float unmasked(float p) { return p > 0.0f ? p : -INFINITY; }
  // Section 1 of the contract for four logits; at is a multiple of 4.
  __device__ float4 adjust(int at, int end, float4 y) const {
    if constexpr (kProbabilities) return make_float4(unmasked(y.x), unmasked(y.y), unmasked(y.z), unmasked(y.w));
    if constexpr (kSparse) {
      const u32 here = (1u << min(end - at, 4)) - 1;
      const u32 marked = marks()[static_cast<u32>(at) % kMarkBits / 32] >> (at % 32) & here;
      if (marked != 0) y = adjust_marked(params_, marked, at, y);
      if (params_.allowed) {
        const u32 allowed = params_.allowed[at / 32] >> (at % 32);
        y.x = allowed & 1u ? y.x : -INFINITY;
        y.y = allowed & 2u ? y.y : -INFINITY;
        y.z = allowed & 4u ? y.z : -INFINITY;
        y.w = allowed & 8u ? y.w : -INFINITY;
      }
    }
    return y;
  }

  __device__ static u32* marks() {
    extern __shared__ float4 dynamic[];
    return reinterpret_cast<u32*>(dynamic);
  }
  __device__ float4* cache(int at) const {
    extern __shared__ float4 dynamic[];
    return dynamic + (kSparse ? sparse_bytes(a_) / 16 : 0) + (at - first_) / 4;
  }

  const SampleArgs& a_;
  const T* logits_;
  const RowParams& params_;
  const bool& aligned_;
  const bool& cached_;
  int first_;
};

// Calls load(at, end) for four of a lane's logits, -inf from end on, then visit(id, y) for each of them, and done(segment)
// when a warp has finished one. A visit must take -inf for a token that is not there. kUnroll: 4 where it pays; more and the
// passes' code outgrows the instruction cache.
template <int kUnroll, class Load, class Visit, class Done>
__device__ __forceinline__ void for_each_of(int vocab_size, const CtaGroup& ctas, Load load, Visit visit, Done done) {
  const int lane = threadIdx.x % 32;
  for (int s = threadIdx.x / 32; s < ctas.shape().segments; s += kWarps) {
    const int from = ctas.first() + s * ctas.shape().segment;
    const int end = min(from + ctas.shape().segment, vocab_size);
#pragma unroll 1
    for (int at = from + 4 * lane; at < end; at += kStep) {
      float4 y = load(at, end);
#pragma unroll kUnroll
      for (int j = 0; j < 4; ++j) {
        visit(at + j, y.x);
        y.x = y.y, y.y = y.z, y.z = y.w;
      }
    }
    __syncwarp();
    done(s);
  }
}

template <int kUnroll = 1, class R, class Visit, class Done>
__device__ __forceinline__ void for_each_token(const R& row, const CtaGroup& ctas, Visit visit, Done done) {
  for_each_of<kUnroll>(
      row.vocab_size(), ctas, [&](int at, int end) { return row.load(at, end); }, visit, done);
}

// The first pass over a row. True where a logit, as it stands in memory, is NaN or +inf.
template <class R, class Visit>
__device__ __forceinline__ bool for_each_token_first(const R& row, const CtaGroup& ctas, Visit visit) {
  bool invalid = false;
  for_each_of<4>(
      row.vocab_size(), ctas, [&](int at, int end) { return row.load_first(at, end, invalid); }, visit, [](int) {});
  return invalid;
}

// Finds in segment s, by one whole warp, the token at which the running sum of mass(id), in ascending id, exceeds `rest`.
// True in the one lane that found it, which gets its id.
template <class Mass>
__device__ bool walk(int vocab_size, const CtaGroup& ctas, int s, u64 rest, Mass mass, int& id) {
  const int lane = threadIdx.x % 32;
  const int from = ctas.first() + s * ctas.shape().segment;
  const int end = min(from + ctas.shape().segment, vocab_size);
  u64 before = 0;
#pragma unroll 1
  for (int base = from; base < end; base += 32) {  // one each: a segment is short
    const int mine = base + lane;
    const u64 one = mine < end ? mass(mine) : 0;
    u64 until = one;
    for (int step = 1; step < 32; step *= 2) {
      const u64 other = __shfl_up_sync(kAllLanes, until, step);
      until += lane >= step ? other : 0;
    }
    const bool here = before + until - one <= rest && rest < before + until;
    if (here) id = mine;
    if (__any_sync(kAllLanes, here)) return here;
    before += __shfl_sync(kAllLanes, until, 31);
  }
  return false;
}

// Whether four neighbours can be read at once.
inline bool rows_aligned(const SampleArgs& a) {
  const std::size_t element = a.type == DType::f32 ? 4 : 2;
  return reinterpret_cast<std::uintptr_t>(a.logits) % (4 * element) == 0 && a.row_stride % 4 == 0;
}

// make(type, sparse): std::type_identity of the row's T, and kSparse.
template <class Make>
const void* with_row_type(const SampleArgs& a, Make make) {
  const auto of = [&](auto type) {
    return sparse_bytes(a) > 0 ? make(type, std::true_type()) : make(type, std::false_type());
  };
  if (a.input == SampleInput::probabilities) return make(std::type_identity<Probability>(), std::false_type());
  switch (a.type) {
    case DType::f32: return of(std::type_identity<float>());
    case DType::f16: return of(std::type_identity<__half>());
    case DType::bf16: return of(std::type_identity<__nv_bfloat16>());
    case DType::int8: break;  // no logits are of it
  }
  return nullptr;
}

}  // namespace warploom::cuda::device
