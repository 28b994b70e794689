// What one warp does: up to 16 rows of queries against one chunk of keys and values, sixteen at a time. A row is one query
// head of one token. The order of a row's operations follows from its own position alone: chunks begin at fixed positions,
// and keys that a row does not see change none of its bits.
#pragma once

#include "cuda/device/element.cuh"
#include "cuda/toolkit/attention/softmax_state.cuh"
#include "cuda/toolkit/attention/storage.cuh"
#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda::device {

inline constexpr int kRows = 16;        // of a matrix product
inline constexpr int kChunkKeys = 128;  // from one merge of partial results to the next
inline constexpr float kLog2E = 1.4426950408889634f;

/// The keys that a row sees; none where first > last.
struct KeyRange {
  int first = 0, last = -1;
};
__device__ inline KeyRange keys_of(std::int32_t position, std::int64_t window) {
  if (position < 0) return {};
  return {window > 0 && window <= position ? static_cast<int>(position - window + 1) : 0, position};
}

/// Scores are multiplied by `scale` (beside each row's own factor), then capped, then come in units of log 2.
struct ScoreScale {
  float scale, cap;  // cap 0: none

  __device__ explicit ScoreScale(const PagedAttentionArgs& a)
      : scale(a.soft_cap > 0.0f ? a.softmax_scale : a.softmax_scale * kLog2E), cap(a.soft_cap) {}
  __device__ float operator()(float x) const { return cap > 0.0f ? cap * tanhf(x / cap) * kLog2E : x; }
};

/// Rows of queries in shared memory, as fragments are read from them: parts [kLeft, 16, head_dim + 8], largest first.
template <class S>
struct QueryTile {
  __host__ __device__ static constexpr int row_bytes(int head_dim) { return 2 * head_dim + 16; }
  __host__ __device__ static constexpr int bytes(int head_dim) { return S::kLeft * kRows * row_bytes(head_dim); }

  /// One warp writes row `row`, elements at `at` of `from`, or zeros where at < 0. Before it is rounded to the storage's
  /// type a row is scaled by a power of two, so that it neither overflows nor vanishes; returns what undoes that.
  static __device__ float store(char* tile, int row, const TensorView& from, std::int64_t at, int head_dim) {
    constexpr int kMaxPairs = 4;  // a lane, of 256
    const int lane = threadIdx.x % 32;
    float2 x[kMaxPairs];
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < kMaxPairs; ++i) {
      const int dim = 2 * lane + 64 * i;
      x[i] = at >= 0 && dim < head_dim ? load_pair(from.data, from.type, at + dim) : float2{0.0f, 0.0f};
      most = fmaxf(most, fmaxf(fabsf(x[i].x), fabsf(x[i].y)));
    }
    const std::uint32_t bits = __reduce_max_sync(0xffffffffu, __float_as_uint(most));
    const int exponent = min(max(static_cast<int>(bits >> 23), 1), 253) - 127;
    const float down = __uint_as_float(static_cast<std::uint32_t>(127 - exponent) << 23);
#pragma unroll
    for (int i = 0; i < kMaxPairs; ++i) {
      const int dim = 2 * lane + 64 * i;
      if (dim >= head_dim) break;
      std::uint32_t parts[S::kLeft];
      split<typename S::Part>(x[i].x * down, x[i].y * down, parts);
#pragma unroll
      for (int p = 0; p < S::kLeft; ++p)
        *reinterpret_cast<std::uint32_t*>(tile + (p * kRows + row) * row_bytes(head_dim) + 2 * dim) = parts[p];
    }
    return __uint_as_float(static_cast<std::uint32_t>(127 + exponent) << 23);
  }
  /// A fragments of 16 dimensions from `dim` on.
  static __device__ void load(const char* tile, int head_dim, int dim, std::uint32_t (&a)[S::kLeft][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int p = 0; p < S::kLeft; ++p)
      load_matrices(a[p], shared_address(tile + (p * kRows + lane % 16) * row_bytes(head_dim) + 2 * (dim + lane / 16 * 8)));
  }
};

/// Running results of rows in shared memory: values [rows, head_dim + 8], and a state a row.
struct RunningRows {
  float* values;
  SoftmaxState* states;
  int head_dim;

  __host__ __device__ static constexpr int row_floats(int head_dim) { return head_dim + 8; }  // rows in different banks
  __host__ __device__ static constexpr int bytes(int rows, int head_dim) {
    return rows * row_floats(head_dim) * 4 + (rows + 1) / 2 * 2 * static_cast<int>(sizeof(SoftmaxState));
  }
  __device__ RunningRows(char* shared, int rows, int dim)
      : values(reinterpret_cast<float*>(shared)),
        states(reinterpret_cast<SoftmaxState*>(shared + rows * row_floats(dim) * 4)),
        head_dim(dim) {}
  /// Rows [first, first + rows) by `threads` threads.
  __device__ void clear(int first, int rows, int thread, int threads) const {
    for (int i = thread; i < rows * row_floats(head_dim); i += threads) values[first * row_floats(head_dim) + i] = 0.0f;
    for (int i = thread; i < rows; i += threads) states[first + i] = SoftmaxState{};
  }
  /// Four neighbours of a row.
  __device__ float4 row_values(int row, int dim) const {
    return *reinterpret_cast<const float4*>(values + row * row_floats(head_dim) + dim);
  }
  /// The same, finished.
  __device__ float4 result(int row, int dim) const {
    const float4 x = row_values(row, dim);
    const float sum = states[row].sum;
    return {finish_value(x.x, sum), finish_value(x.y, sum), finish_value(x.z, sum), finish_value(x.w, sum)};
  }
};

/// A warp's registers: rows g = lane / 4 and g + 8 of 16, of each the columns 2 (lane % 4), + 1 of every eight.
template <class S, int kMaxDim>
class WarpAttention {
 public:
  /// Whether the queries stay in registers.
  static constexpr bool kHeld = S::kLeft == 1 && kMaxDim <= 128;

  __device__ WarpAttention(const PagedAttentionArgs& a, const char* query_tile)
      : head_dim_(static_cast<int>(a.cache.head_dim)), scale_(a), query_tile_(query_tile) {}

  /// The queries are in their tile now; factors [16]: what QueryTile::store returned.
  __device__ void take_queries(const float* factors) {
    const int row = threadIdx.x % 32 / 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) factors_[r] = factors[row + 8 * r] * scale_.scale;
    if constexpr (kHeld) {
#pragma unroll
      for (int d = 0; d < kSteps; ++d)
        if (16 * d < head_dim_) QueryTile<S>::load(query_tile_, head_dim_, 16 * d, held_[d]);
    }
  }
  /// Of row lane / 4 + 8 r.
  __device__ void see(int r, const KeyRange& range) { ranges_[r] = range; }

  __device__ void begin_chunk() {
#pragma unroll
    for (int d = 0; d < kSteps; ++d)
#pragma unroll
      for (int i = 0; i < 8; ++i) values_[d][i / 4][i % 4] = 0.0f;
#pragma unroll
    for (int r = 0; r < 2; ++r) states_[r] = SoftmaxState{};
  }

  /// Sixteen keys from position `key` on, which lie in `tile`, their values behind them.
  __device__ void attend(const char* tile, int key) {
    float scores[2][4] = {};
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
      if (16 * d >= head_dim_) break;
      std::uint32_t a[S::kLeft][4], b[S::kParts][4];
      S::keys(tile, head_dim_, 16 * d, b);
      query(d, a);
      multiply(scores, a, b);
    }
    std::uint32_t weights[S::kLeft][4];
    weigh(scores, key, weights);
    tile += key_tile_bytes<S>(head_dim_);
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
      if (16 * d >= head_dim_) break;
      std::uint32_t b[S::kParts][4];
      S::values(tile, head_dim_, 16 * d, b);
      multiply(values_[d], weights, b);
    }
  }

  /// After this the states hold the sums of whole rows, in each of a row's lanes.
  __device__ void end_chunk() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      states_[r].sum += __shfl_xor_sync(0xffffffffu, states_[r].sum, 1);
      states_[r].sum += __shfl_xor_sync(0xffffffffu, states_[r].sum, 2);
    }
  }

  /// Calls f(row, state) and then g(row, dim, values of dim and dim + 1) for this lane's part of the chunk's rows < rows.
  template <class F, class G>
  __device__ void for_each_row(int rows, F&& f, G&& g) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = lane / 4 + 8 * r;
      if (row >= rows) continue;
      f(row, states_[r]);
#pragma unroll
      for (int d = 0; d < kSteps; ++d) {
        if (16 * d >= head_dim_) break;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          g(row, 16 * d + 8 * half + lane % 4 * 2, float2{values_[d][half][2 * r], values_[d][half][2 * r + 1]});
      }
    }
  }

  /// Merges the chunk into `running`, rows [first, first + rows), which only this warp may be using.
  __device__ void merge_into(const RunningRows& running, int first, int rows) const {
    SoftmaxState merged;
    Shares shares{};
    SoftmaxState finals[2];
    for_each_row(
        rows,
        [&](int row, const SoftmaxState& state) {
          merged = running.states[first + row];
          shares = merge(merged, state);
          finals[row / 8] = merged;
        },
        [&](int row, int dim, float2 x) {
          float2& y = *reinterpret_cast<float2*>(running.values + (first + row) * RunningRows::row_floats(head_dim_) + dim);
          y = {merge_value(shares, y.x, x.x), merge_value(shares, y.y, x.y)};
        });
    __syncwarp();  // a row's four lanes have read its state
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      if (lane % 4 == 0 && lane / 4 + 8 * r < rows) running.states[first + lane / 4 + 8 * r] = finals[r];
    __syncwarp();  // and will read the new one
  }

 private:
  static constexpr int kSteps = kMaxDim / 16;

  __device__ void query(int d, std::uint32_t (&a)[S::kLeft][4]) const {
    if constexpr (kHeld) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[0][i] = held_[d][0][i];
    } else {
      QueryTile<S>::load(query_tile_, head_dim_, 16 * d, a);
    }
  }

  // c += a b, leaving out products of parts that are smaller than what the parts leave out themselves.
  static __device__ void multiply(float (&c)[2][4], const std::uint32_t (&a)[S::kLeft][4],
                                  const std::uint32_t (&b)[S::kParts][4]) {
#pragma unroll
    for (int i = 0; i < S::kLeft; ++i)
#pragma unroll
      for (int j = 0; j < S::kParts; ++j)
        if (i + j < S::kLeft) {
          mma<typename S::Part>(c[0], a[i], b[j][0], b[j][1]);
          mma<typename S::Part>(c[1], a[i], b[j][2], b[j][3]);
        }
  }

  // Scores become weights 2^(score - max), as fragments; what was summed up before is scaled to the new maximum.
  __device__ void weigh(float (&scores)[2][4], int key, std::uint32_t (&weights)[S::kLeft][4]) {
    const int column = threadIdx.x % 4 * 2;
    float shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = states_[r].max;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& x = scores[i / 2][2 * r + i % 2];
        const int at = key + i / 2 * 8 + column + i % 2;
        x = at >= ranges_[r].first && at <= ranges_[r].last ? scale_(x * factors_[r]) : -INFINITY;
        most = fmaxf(most, x);
      }
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      const float base = base_of(most);
      shrink[r] = exp2_of(states_[r].max - base);
      states_[r].max = most;
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float low = exp2_of(scores[n][2 * r] - base), high = exp2_of(scores[n][2 * r + 1] - base);
        std::uint32_t parts[S::kLeft];
        split<typename S::Part>(low, high, parts);
#pragma unroll
        for (int p = 0; p < S::kLeft; ++p) weights[p][2 * n + r] = parts[p];
        // One part: what is summed is what values are multiplied by, so that its rounding cancels.
        const float2 used = S::kLeft == 1 ? unpack<typename S::Part>(parts[0]) : float2{low, high};
        sum += used.x + used.y;
      }
      states_[r].sum = fmaf(states_[r].sum, shrink[r], sum);
    }
    if (!__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f)) return;
#pragma unroll
    for (int d = 0; d < kSteps; ++d)
#pragma unroll
      for (int i = 0; i < 8; ++i) values_[d][i / 4][i % 4] *= shrink[i % 4 / 2];
  }

  int head_dim_;
  ScoreScale scale_;
  const char* query_tile_;
  float factors_[2];
  KeyRange ranges_[2];
  SoftmaxState states_[2];  // until end_chunk() sums of this lane's own columns
  float values_[kSteps][2][4];
  std::uint32_t held_[kHeld ? kSteps : 1][S::kLeft][4];
};

}  // namespace warploom::cuda::device
