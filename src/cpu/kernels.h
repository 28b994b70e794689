// The inner loops of the CPU backend, compiled once per instruction set and met through this table. All of them give the
// same bits on every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/packed.h"

namespace warploom::cpu {

// Attention of some query vectors that read the same keys: rows of one sequence, heads of one kv head.
struct AttentionTile {
  const float* const* queries = nullptr;    // [count] -> [head_dim]
  const std::int32_t* positions = nullptr;  // [count], ascending; query i sees positions [first_i, positions[i]]
  int count = 0;                            // at most kMaxQueries
  std::int64_t window = 0;                  // 0: first_i = 0, else max(0, positions[i] - window + 1)
  int head_dim = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;                 // > 0: scores become soft_cap tanh(score / soft_cap)
  const std::int32_t* blocks = nullptr;  // the sequence's block table
  const std::byte* cache = nullptr;      // keys of block b start at cache + b * block_stride, values follow
  std::size_t block_stride = 0;
  bool half = true;  // f16, else f32
};
inline constexpr int kMaxQueries = 16;
inline constexpr int kChunkTokens = 128;  // a context is cut here, whoever computes it: partial results merge in order

// Dense passes over a row of logits.
inline constexpr int kSumBlock = 1024;

struct SampleKernels {
  void (*widen)(const std::uint16_t* x, std::int64_t count, bool bf16, float* out);  // from f16 or bf16, exactly
  // -inf in place of the logits whose bit is 0: bit i % 32 of word i / 32.
  void (*mask)(float* x, std::int64_t count, const std::uint32_t* allowed);
  // Largest logit of each `block` logits, a multiple of 64. True where the row holds NaN or +inf.
  bool (*scan)(const float* x, std::int64_t count, std::int64_t block, float* block_max);
  // Sum of the weights that are at least `least` in each kSumBlock logits; returns how many they are. No logit above max.
  std::int64_t (*sum_weights)(const float* x, std::int64_t count, float max, float scale, std::uint64_t least,
                              std::uint64_t* sums);
  // Ids, counted from first_id, and values of the logits >= floor, ids ascending; returns how many they are. There is room
  // for count + 16: what lies behind the last one is overwritten.
  std::int64_t (*gather)(const float* x, std::int64_t count, float floor, std::uint32_t first_id, std::uint32_t* ids,
                         float* values);
  // The same from id 0 with a floor above -inf, and the sum of all weights; no logit above max.
  std::int64_t (*gather_and_sum)(const float* x, std::int64_t count, float max, float scale, float floor, std::uint32_t* ids,
                                 float* values, std::uint64_t* total);
  // Moves together, in their order, the values above `least` and those equal to it of ids up to last_id; returns how many
  // they are. Reads and writes up to count + 16; ids are below 2^22.
  std::int64_t (*keep)(float* values, std::uint32_t* ids, std::int64_t count, float least, std::uint32_t last_id);
  void (*weigh)(const float* values, std::int64_t count, float max, float scale, std::uint64_t* weights);
};

struct Kernels {
  // One token's inputs into its slot of a group's records, [cols / 32]; cols is a multiple of 32.
  void (*quantise_row)(const float* x, std::int64_t cols, InputRecord* records, int slot);

  // out[t * out_stride + lane] for 16 lanes (fewer where `lanes` says so), t in [0, tokens). bias: [lanes] or null.
  // inputs: groups of 8 tokens one after the other, each [cols / 32].
  void (*panel_quantised)(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const InputRecord* inputs,
                          std::int64_t tokens, const float* bias, int lanes, float* out, std::int64_t out_stride);
  // x: [tokens, cols], rows x_stride apart.
  void (*panel_float)(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const float* x,
                      std::int64_t x_stride, std::int64_t tokens, const float* bias, int lanes, float* out,
                      std::int64_t out_stride);

  // residual += delta where given; out = residual * weight / sqrt(mean(residual^2) + epsilon).
  void (*rms_norm_row)(float* residual, const float* delta, const float* weight, std::int64_t dim, float epsilon,
                       float* out);
  // out[i] = x[i] * table[i] + x[partner of i] * table[dims + i]; the partner is i ^ 1, or half of dims away. Not in place.
  void (*rotate_row)(const float* x, const float* table, std::int64_t dims, bool interleaved, float* out);
  void (*narrow_row)(const float* x, std::int64_t count, std::uint16_t* out);  // to f16, to nearest even
  void (*swiglu_row)(const float* gate, const float* up, std::int64_t count, float* out);

  // One chunk of a context: for each query, maximum and sum of the exponentials, and the weighted sum of values, of the
  // positions in [chunk * kChunkTokens, (chunk + 1) * kChunkTokens) that it sees. At least one query sees one; for a query
  // that sees none, maximum is -inf, sum 0, values untouched. values[i]: [head_dim].
  void (*attend_chunk)(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
  // Merges a chunk's result into the running one, in place. A running maximum of -inf means "nothing yet".
  void (*merge_chunk)(float* max, float* sum, float* values, float chunk_max, float chunk_sum, const float* chunk_values,
                      int head_dim);
  void (*scale_row)(float* values, float divisor, int count);  // values /= divisor

  SampleKernels sample;
};

// Defined once per instruction set that this build holds.
namespace generic {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx2_vnni {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx512_vnni {
extern const Kernels kKernels;
}

}  // namespace warploom::cpu
