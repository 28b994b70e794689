// The inner loops of the CPU backend, compiled once per instruction set and called through this table. Each gives the same
// bits on every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/packed.h"
#include "warploom/types.h"

namespace warploom::cpu {

// The blocks of one chunk of a context.
struct KvBlocks {
  const std::byte* cache = nullptr;  // block b is at cache + b * stride: keys, then values
  std::size_t stride = 0;
  const std::int32_t* ids = nullptr;
  int count = 0;
  int bytes = 0;  // of each block that are read at once: all, or those of the keys
};
// A head of a token in whole numbers: x is about scale * code, with codes in [-127, 127]. If a group holds a NaN or an infinity,
// its scale is NaN and its codes are 0.
struct Int8Head {
  alignas(64) std::int8_t codes[256];  // 0 behind the last dimension, up to a multiple of 16
  float scales[8];                     // of each kInt8Group dimensions, or one of all
  std::int32_t sums[8];                // of the codes that share a scale
};
inline constexpr int kInt8Group = 32;
// Offsets in a head's block of int8, in bytes; cpu/kv_cache.h describes the layout.
struct Int8Block {
  int key_scales = 0, values = 0, value_scales = 0;
};
// Where weights, keys and values are fetched to before their use.
enum class Fetch : std::uint8_t { nowhere, first_cache, second_cache };
// How a machine goes through panels, which is measured: plan_of_products() in cpu/isa.h.
struct ProductPlan {
  Fetch fetch = Fetch::first_cache;  // of the weights
  bool pairs = false;  // two panels at a time share the inputs that are loaded, if the instruction set has a loop for it
};

// A product of neighbouring panels with some tokens: out[t, row] = the sum over the inputs of a row's weights times x[t], + bias[row].
struct PanelProduct {
  PackedFormat format;
  const std::byte* panels = nullptr;  // one after the other
  std::size_t panel_bytes = 0;        // of each
  std::int64_t rows = 0, cols = 0;    // of the weights in them; the last panel may hold fewer rows than kPanelRows
  std::int64_t tokens = 0;
  const ActivationBlock* inputs = nullptr;  // if the weights are quantised: groups of 16 tokens, each [cols / 32]
  const float* x = nullptr;                 // if they are floats: [tokens, cols]
  const float* bias = nullptr;              // [rows], or null
  float* out = nullptr;                     // [tokens, rows], rows out_stride apart
  std::int64_t out_stride = 0;
  ProductPlan plan;
};

// Query vectors that read the same keys: tokens of one sequence, query heads of one kv head.
struct AttentionTile {
  const float* queries = nullptr;           // [count, head_dim], rows kQueryStride apart; rounded to bf16 if keys are
  const std::int32_t* positions = nullptr;  // [count], ascending; query i attends to [first_i, positions[i]]
  int count = 0;                            // <= kMaxQueries
  std::int64_t window = 0;                  // 0: first_i = 0, else max(0, positions[i] - window + 1)
  int head_dim = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;                   // > 0: scores become soft_cap tanh(score / soft_cap)
  KvBlocks kv;                             // of the chunk
  DType type = DType::f16;                 // of the keys and values
  const Int8Head* int8_queries = nullptr;  // of int8: they take the place of `queries`, and their scales that of `scale`
  Int8Block int8;
  // What is read after the chunk. It is fetched meanwhile: its pieces are too small for the processor to see their order.
  KvBlocks next;
  Fetch fetch = Fetch::first_cache;  // where to
};
inline constexpr int kMaxQueries = 16;
inline constexpr int kQueryStride = 256;  // the largest head_dim
inline constexpr int kChunkTokens = 128;  // contexts are split at its multiples, and partial results merge in order

// Passes over a row of logits.
inline constexpr int kSumBlock = 1024;

struct SampleKernels {
  void (*widen)(const std::uint16_t* x, std::int64_t count, bool bf16, float* out);  // from f16 or bf16; exact
  // -inf in place of the logits whose bit is 0: bit i % 32 of word i / 32.
  void (*mask)(float* x, std::int64_t count, const std::uint32_t* allowed);
  // Finds the maximum of each `block` logits; block is a multiple of 64. Returns true if the row holds NaN or +inf.
  bool (*scan)(const float* x, std::int64_t count, std::int64_t block, float* block_max);
  // Sums the weights >= min_weight of each kSumBlock logits and returns their number. No logit may exceed max.
  std::int64_t (*sum_weights)(const float* x, std::int64_t count, float max, float scale, std::uint64_t min_weight,
                              std::uint64_t* sums);
  // Writes the ids (counted from first_id) and values of the logits >= floor, ids ascending, and returns their number. Up to
  // count + 16 entries are overwritten.
  std::int64_t (*gather)(const float* x, std::int64_t count, float floor, std::uint32_t first_id, std::uint32_t* ids,
                         float* values);
  // The same from id 0, and the sum of all weights. floor is above -inf, and no logit may exceed max.
  std::int64_t (*gather_and_sum)(const float* x, std::int64_t count, float max, float scale, float floor, std::uint32_t* ids,
                                 float* values, std::uint64_t* total);
  // Keeps the values above min_value, and those equal to it up to id last_id, in their order; returns their number. Reads
  // and writes up to count + 16 entries; ids are below 2^22.
  std::int64_t (*keep)(float* values, std::uint32_t* ids, std::int64_t count, float min_value, std::uint32_t last_id);
  void (*weigh)(const float* values, std::int64_t count, float max, float scale, std::uint64_t* weights);
};

struct Kernels {
  // Quantises the inputs of up to kTokenGroup tokens, rows of x that are `stride` apart, into the first slots of a token group's blocks,
  // [cols / 32]; cols is a multiple of 32.
  void (*quantise_group)(const float* x, std::int64_t stride, int tokens, std::int64_t cols, ActivationBlock* blocks);

  void (*multiply_quantised)(const PanelProduct& product);
  void (*multiply_float)(const PanelProduct& product);

  // residual += delta unless delta is null; out = residual * weight / sqrt(mean(residual^2) + epsilon).
  void (*rms_norm_row)(float* residual, const float* delta, const float* weight, std::int64_t dim, float epsilon,
                       float* out);
  // out[i] = x[i] * table[i] + x[partner of i] * table[dims + i]; the partner is i ^ 1 if interleaved, else dims / 2 away.
  // out must not alias x.
  void (*rotate_row)(const float* x, const float* table, std::int64_t dims, bool interleaved, float* out);
  void (*narrow_row)(const float* x, std::int64_t count, std::uint16_t* out);  // to f16, to nearest even
  // To bf16, to nearest even, and magnitudes below 2^-50 to 0. out may be x.
  void (*round_bf16_row)(const float* x, std::int64_t count, float* out);
  // In groups of `group` numbers that share a scale; a multiple of 16.
  void (*quantise_head)(const float* x, std::int64_t count, std::int64_t group, Int8Head* out);
  void (*swiglu_row)(const float* gate, const float* up, std::int64_t count, float* out);

  // One chunk of a context. Each query gets the maximum score, the sum of exponentials and the weighted sum of values over
  // the positions of [chunk * kChunkTokens, (chunk + 1) * kChunkTokens) that its mask allows. For a query without any, the
  // maximum is -inf, the sum 0 and the values are of no use; at least one query must have some. values[i]: [head_dim], written in
  // whole vectors.
  void (*attend_chunk)(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values);
  // Merges `count` queries' results of a chunk into the running ones, in place. Running maxima start at -inf, sums at 0. Maxima
  // and sums are arrays of kMaxQueries.
  void (*merge_chunks)(int count, int head_dim, const float* chunk_maxima, const float* chunk_sums,
                       const float* const* chunk_values, float* maxima, float* sums, float* const* values);
  void (*scale_row)(float* values, float divisor, int count);  // values /= divisor

  SampleKernels sample;
};

// One table for each instruction set that this build supports.
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
namespace avx512_bf16 {
extern const Kernels kKernels;
}
namespace avx512_amx {
extern const Kernels kKernels;
}

}  // namespace warploom::cpu
