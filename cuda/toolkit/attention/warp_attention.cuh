// The work of one warp: up to 16 query rows against one chunk of keys and values, sixteen at a time. A row is one query head
// of one token. The order of a row's operations depends only on its own position: chunks begin at fixed positions, and
// masked keys change none of its bits.
#pragma once

#include "core/divide.h"
#include "cuda/device/element.cuh"
#include "cuda/toolkit/attention/key_range.cuh"
#include "cuda/toolkit/attention/partials.cuh"
#include "cuda/toolkit/attention/storage.cuh"

namespace warploom::cuda::device {

inline constexpr int kMmaRows = 16;  // rows of an mma instruction
inline constexpr float kLog2Ef = 1.4426950408889634f;

/// Multiplies a score by `scale` (the row's own factor is separate), caps it, and converts it to a base-2 exponent. Roundings
/// are spelled out, here and in the softmax: a contraction in one kernel but not in the other would give a token other bits.
template <class Dim>
struct ScoreScale {
  float scale, cap;  // cap 0: none, as always if Dim is plain

  __device__ explicit ScoreScale(const PagedAttentionArgs& a)
      : scale(a.soft_cap > 0.0f ? a.softmax_scale : a.softmax_scale * kLog2Ef), cap(a.soft_cap) {}
  __device__ float operator()(float x) const {
    return !Dim::kPlain && cap > 0.0f ? __fmul_rn(__fmul_rn(cap, tanhf(__fdiv_rn(x, cap))), kLog2Ef) : x;
  }
};

/// Query rows in shared memory, in the layout of the A fragments: [kLeftParts, 16, head_dim + 8], the largest parts first.
template <class S>
struct QueryTile {
  __host__ __device__ static constexpr int row_bytes(int head_dim) { return 2 * head_dim + 16; }
  __host__ __device__ static constexpr int bytes(int head_dim) { return S::kLeftParts * kMmaRows * row_bytes(head_dim); }

  /// One warp stores kRows rows: of lane i, row first + i from element `at` of `from`, or zeros if at < 0. Each is first scaled by a
  /// power of two, so that rounding to the storage's type neither overflows nor underflows. Returns, in lane i, the factor that
  /// undoes the scaling.
  template <class Dim, int kRows>
  static __device__ float store(char* tile, int first, const TensorView& from, std::int64_t at, int head_dim) {
    constexpr int kPairs = ceil_div(Dim::kMax, 64);  // of a lane
    constexpr int kTogether = 4;                     // rows whose loads are under way at once
    static_assert(kRows % kTogether == 0);
    const int lane = threadIdx.x % 32;
    float factor = 1.0f;
#pragma unroll 1
    for (int begin = 0; begin < kRows; begin += kTogether) {
      float2 x[kTogether][kPairs];
      load_pairs<Dim>(from, at, begin, head_dim, x);
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        float max_abs = 0.0f;
#pragma unroll
        for (int j = 0; j < kPairs; ++j) max_abs = fmaxf(max_abs, fmaxf(fabsf(x[i][j].x), fabsf(x[i][j].y)));
        const std::uint32_t bits = __reduce_max_sync(0xffffffffu, __float_as_uint(max_abs));
        const int exponent = min(max(static_cast<int>(bits >> 23), 1), 253) - 127, row = first + begin + i;
        const float down = __uint_as_float(static_cast<std::uint32_t>(127 - exponent) << 23);
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          const int dim = 2 * lane + 64 * j;
          if (dim >= head_dim) break;
          std::uint32_t parts[S::kLeftParts];
          split<typename S::Part>(x[i][j].x * down, x[i][j].y * down, parts);
#pragma unroll
          for (int p = 0; p < S::kLeftParts; ++p)
            *reinterpret_cast<std::uint32_t*>(tile + (p * kMmaRows + row) * row_bytes(head_dim) + 2 * dim) = parts[p];
        }
        if (lane == begin + i) factor = __uint_as_float(static_cast<std::uint32_t>(127 + exponent) << 23);
      }
    }
    return factor;
  }
  /// A fragments for 16 dimensions, starting at `dim`.
  static __device__ void load(const char* tile, int head_dim, int dim, std::uint32_t (&a)[S::kLeftParts][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int p = 0; p < S::kLeftParts; ++p)
      load_matrices(a[p],
                    shared_address(tile + (p * kMmaRows + lane % 16) * row_bytes(head_dim) + 2 * (dim + lane / 16 * 8)));
  }

 private:
  // Pairs of this lane of rows that lanes begin, begin + 1, ... have the first elements of.
  template <class Dim, int kRows, int kPairs>
  static __device__ void load_pairs(const TensorView& from, std::int64_t at, int begin, int head_dim,
                                    float2 (&x)[kRows][kPairs]) {
    const auto load = [&](const auto* pairs, auto& into) {
      const std::int64_t first = at >> 1;  // negative still
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const std::int64_t row = __shfl_sync(0xffffffffu, first, begin + i);
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          const int pair = threadIdx.x % 32 + 32 * j;
          into[i][j] = {};
          load_if(row >= 0 && (Dim::kPlain || 2 * pair < head_dim), pairs + row + pair, into[i][j]);
        }
      }
    };
    if (from.type == DType::f32) return load(static_cast<const float2*>(from.data), x);
    std::uint32_t bits[kRows][kPairs];
    load(static_cast<const std::uint32_t*>(from.data), bits);
    const auto widen = [&](auto type) {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kPairs; ++j) x[i][j] = unpack<decltype(type)>(bits[i][j]);
    };
    if (from.type == DType::f16) return widen(__half());
    widen(__nv_bfloat16());
  }
};

/// Running results of rows in shared memory: values [rows, head_dim + 8] and states [rows].
struct RunningRows {
  float* values;
  SoftmaxState* states;
  int head_dim;

  __host__ __device__ static constexpr int row_floats(int head_dim) {
    return head_dim + 8;
  }  // so that rows start in different banks
  __host__ __device__ static constexpr int bytes(int rows, int head_dim) {
    return rows * row_floats(head_dim) * 4 + (rows + 1) / 2 * 2 * static_cast<int>(sizeof(SoftmaxState));
  }
  __device__ RunningRows(char* shared, int rows, int dim)
      : values(reinterpret_cast<float*>(shared)),
        states(reinterpret_cast<SoftmaxState*>(shared + rows * row_floats(dim) * 4)),
        head_dim(dim) {}
  /// Clears the rows [first, first + rows) with `threads` threads.
  __device__ void clear(int first, int rows, int thread, int threads) const {
    for (int i = thread; i < rows * row_floats(head_dim); i += threads) values[first * row_floats(head_dim) + i] = 0.0f;
    for (int i = thread; i < rows; i += threads) states[first + i] = SoftmaxState{};
  }
  /// Four neighbouring values of a row.
  __device__ PartialFour get(int row, int dim) const {
    return {states[row], *reinterpret_cast<const float4*>(values + row * row_floats(head_dim) + dim)};
  }
};

/// Attention state in a warp's registers. Each lane holds rows lane / 4 and lane / 4 + 8 of 16, and of every eight columns
/// 2 (lane % 4) and 2 (lane % 4) + 1.
template <class S, class Dim>
class WarpAttention {
 public:
  static constexpr bool kQueriesInRegisters = S::kLeftParts <= 2 && Dim::kMax <= 128;

  __device__ WarpAttention(const PagedAttentionArgs& a, const char* query_tile)
      : head_dim_(Dim::of(a.cache)), scale_(a), query_tile_(query_tile) {}

  /// To be called when the query tile is complete. factors: [16], the results of QueryTile::store.
  __device__ void load_queries(const float* factors) {
    const int row = threadIdx.x % 32 / 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) factors_[r] = __fmul_rn(factors[row + 8 * r], scale_.scale);
    if constexpr (kQueriesInRegisters) {
#pragma unroll
      for (int d = 0; d < kSteps; ++d)
        if (16 * d < head_dim()) QueryTile<S>::load(query_tile_, head_dim(), 16 * d, query_registers_[d]);
    }
  }
  /// ranges: [16], in shared memory. What a row without any keys gets is undefined.
  __device__ void set_mask_ranges(const KeyRange* ranges) {
    ranges_ = ranges;
    int first = 0, last = INT_MAX;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const KeyRange range = ranges[threadIdx.x % 32 / 4 + 8 * r];
      if (range.empty()) continue;
      first = max(first, range.first);
      last = min(last, range.last);
    }
    common_ = {__reduce_max_sync(0xffffffffu, first), __reduce_min_sync(0xffffffffu, last)};
  }

  __device__ void begin_chunk() {
#pragma unroll
    for (int d = 0; d < kSteps; ++d)
#pragma unroll
      for (int i = 0; i < 8; ++i) values_[d][i / 4][i % 4] = 0.0f;
#pragma unroll
    for (int r = 0; r < 2; ++r) states_[r] = SoftmaxState{};
  }

  /// Adds kTiles times sixteen keys, which start at position `key`, one sixteen after the other. tiles: of each, the keys, then
  /// their values. What does not depend on the sixteen before is computed side by side.
  template <int kTiles>
  __device__ void attend(const char* tiles, int key) {
    float scores[kTiles][2][4] = {};
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
      if (16 * d >= head_dim()) break;
      std::uint32_t a[S::kLeftParts][4], b[kTiles][S::kRightParts][4];
      load_query(d, a);
#pragma unroll
      for (int t = 0; t < kTiles; ++t) S::keys(tiles + t * tile_bytes<S>(head_dim()), head_dim(), 16 * d, b[t]);
#pragma unroll
      for (int t = 0; t < kTiles; ++t) multiply(scores[t], a, b[t]);
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) scale(scores[t]);
    if (key < common_.first || key + kTiles * kTileKeys - 1 > common_.last) {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) mask(scores[t], key + t * kTileKeys);
    }
    std::uint32_t probabilities[kTiles][S::kLeftParts][4];
    float factors[kTiles][2];  // for the values before
    softmax(scores, probabilities, factors);
    tiles += key_tile_bytes<S>(head_dim());
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
      if (16 * d >= head_dim()) break;
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        std::uint32_t b[S::kRightParts][4];
        S::values(tiles + t * tile_bytes<S>(head_dim()), head_dim(), 16 * d, b);
#pragma unroll
        for (int i = 0; i < 8; ++i) values_[d][i / 4][i % 4] = __fmul_rn(values_[d][i / 4][i % 4], factors[t][i % 4 / 2]);
        multiply(values_[d], probabilities[t], b);
      }
    }
  }

  /// Completes the sums of the states over the four lanes of each row.
  __device__ void end_chunk() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      states_[r].sum += __shfl_xor_sync(0xffffffffu, states_[r].sum, 1);
      states_[r].sum += __shfl_xor_sync(0xffffffffu, states_[r].sum, 2);
    }
  }

  /// For each row < rows of this lane, calls f(row, state) and then g(row, dim, values of dim and dim + 1) for its dims.
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
        if (16 * d >= head_dim()) break;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          g(row, 16 * d + 8 * half + lane % 4 * 2, float2{values_[d][half][2 * r], values_[d][half][2 * r + 1]});
      }
    }
  }

  /// Merges the chunk into rows [first, first + rows) of `running`, which no other warp may use meanwhile.
  __device__ void merge_into(const RunningRows& running, int first, int rows) const {
    SoftmaxState merged;
    RescaleFactors rescale{};
    SoftmaxState finals[2];
    for_each_row(
        rows,
        [&](int row, const SoftmaxState& state) {
          merged = running.states[first + row];
          rescale = merge(merged, state);
          finals[row / 8] = merged;
        },
        [&](int row, int dim, float2 x) {
          float2& y = *reinterpret_cast<float2*>(running.values + (first + row) * RunningRows::row_floats(head_dim()) + dim);
          y = {merge_value(rescale, y.x, x.x), merge_value(rescale, y.y, x.y)};
        });
    __syncwarp();  // all lanes of a row have read its state
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      if (lane % 4 == 0 && lane / 4 + 8 * r < rows) running.states[first + lane / 4 + 8 * r] = finals[r];
    __syncwarp();  // all lanes will read the new state
  }

 private:
  __device__ int head_dim() const { return Dim::kPlain ? Dim::kMax : head_dim_; }
  static constexpr int kSteps = Dim::kMax / 16;

  __device__ void load_query(int d, std::uint32_t (&a)[S::kLeftParts][4]) const {
    if constexpr (kQueriesInRegisters) {
#pragma unroll
      for (int p = 0; p < S::kLeftParts; ++p)
#pragma unroll
        for (int i = 0; i < 4; ++i) a[p][i] = query_registers_[d][p][i];
    } else {
      QueryTile<S>::load(query_tile_, head_dim(), 16 * d, a);
    }
  }

  // c += a b. Omits products of parts that are smaller than the rounding error of the parts.
  static __device__ void multiply(float (&c)[2][4], const std::uint32_t (&a)[S::kLeftParts][4],
                                  const std::uint32_t (&b)[S::kRightParts][4]) {
#pragma unroll
    for (int i = 0; i < S::kLeftParts; ++i)
#pragma unroll
      for (int j = 0; j < S::kRightParts; ++j)
        if (i + j < S::kLeftParts) {
          mma<typename S::Part>(c[0], a[i], b[j][0], b[j][1]);
          mma<typename S::Part>(c[1], a[i], b[j][2], b[j][3]);
        }
  }

  __device__ void scale(float (&scores)[2][4]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) scores[i / 4][i % 4] = scale_(__fmul_rn(scores[i / 4][i % 4], factors_[i % 4 / 2]));
  }

  // Hides keys from rows that do not attend to them.
  __device__ void mask(float (&scores)[2][4], int key) const {
    const int lane = threadIdx.x % 32, column = key + lane % 4 * 2;
    const KeyRange ranges[2] = {ranges_[lane / 4], ranges_[lane / 4 + 8]};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = column + i / 4 * 8 + i % 2, r = i % 4 / 2;
      if (at < ranges[r].first || at > ranges[r].last) scores[i / 4][i % 4] = -INFINITY;
    }
  }

  // Turns scores into probabilities 2^(score - max), as A fragments, where max is that of all keys up to the end of the tile.
  // factors: what rescales the values of earlier keys to it. Rescales the earlier sums.
  template <int kTiles>
  __device__ void softmax(const float (&scores)[kTiles][2][4], std::uint32_t (&probabilities)[kTiles][S::kLeftParts][4],
                          float (&factors)[kTiles][2]) {
    float tile_max[kTiles][2];
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float(&s)[2][4] = scores[t];
        float& max = tile_max[t][r];
        max = fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1]));
        max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
        max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
      }
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float row_max = fmaxf(states_[r].max, tile_max[t][r]), base = safe_max(row_max);
        const float factor = factors[t][r] = exp2_of(__fsub_rn(states_[r].max, base));
        states_[r].max = row_max;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const float low = exp2_of(__fsub_rn(scores[t][n][2 * r], base)),
                      high = exp2_of(__fsub_rn(scores[t][n][2 * r + 1], base));
          std::uint32_t parts[S::kLeftParts];
          split<typename S::Part>(low, high, parts);
#pragma unroll
          for (int p = 0; p < S::kLeftParts; ++p) probabilities[t][p][2 * n + r] = parts[p];
          // With one part, the sum uses the rounded values that the matrix product uses, so that the error cancels.
          const float2 used = S::kLeftParts == 1 ? unpack<typename S::Part>(parts[0]) : float2{low, high};
          sum = __fadd_rn(sum, __fadd_rn(used.x, used.y));
        }
        states_[r].sum = fmaf(states_[r].sum, factor, sum);
      }
  }

  int head_dim_;
  ScoreScale<Dim> scale_;
  const char* query_tile_;
  float factors_[2];
  const KeyRange* ranges_;
  KeyRange common_;         // common_: what every row attends to that attends to anything
  SoftmaxState states_[2];  // until end_chunk(), the sums cover only this lane's columns
  float values_[kSteps][2][4];
  std::uint32_t query_registers_[kQueriesInRegisters ? kSteps : 1][S::kLeftParts][4];
};

}  // namespace warploom::cuda::device
