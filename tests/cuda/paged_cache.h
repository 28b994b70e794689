// A paged cache in device memory with keys and values of several sequences, steps of attention over it, and what attention
// gives in double.
#pragma once

#include <memory>
#include <random>
#include <vector>

#include "cuda/device_sampling.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom::test {

struct PagedCase {
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 64;
  DType type = DType::f16;
  std::vector<std::int64_t> lengths;  // tokens of each sequence, all of which the cache holds
  std::int64_t block_size = 16;
  std::int64_t window = 0;
  float soft_cap = 0.0f;
  DType query_type = DType::f32;
  DType out_type = DType::f32;
  float spread = 1.0f;  // standard deviation of the queries

  float scale() const;
};

/// Numbers as `type` holds them, and as bytes of it.
float rounded(float x, DType type);
std::vector<std::byte> encoded(std::span<const float> values, DType type);
std::vector<float> decoded(std::span<const std::byte> bytes, DType type);

/// Queries, keys and values of every token, as they are in device memory: [sequence][position * heads * head_dim ...].
struct PagedData {
  PagedData(const PagedCase& c, std::mt19937& rng);
  std::vector<std::vector<float>> queries, keys, values;
};

/// Tokens [from, to) of a sequence. to <= from: none.
struct Span {
  std::size_t sequence;
  std::int64_t from, to;
};

/// The cache. What no token fills is NaN, the blocks of the sequences are shuffled by `seed`, and so is the padding of
/// tables.
class PagedCache {
 public:
  PagedCache(const PagedCase& c, const PagedData& data, std::uint32_t seed);

  /// Keys and values before `position` become NaN, blocks that end before it leave the table.
  void forget(std::size_t sequence, std::int64_t position);

  /// Arguments of a step, whose arrays live until the next one. Token counts and places are those of `spans`; `padding`
  /// tokens with position -1 follow as sequences of their own.
  PagedAttentionArgs arguments(const std::vector<Span>& spans, int padding = 0);
  /// Runs the step; [tokens, heads * head_dim]. Checks guard bands around the result.
  std::vector<float> attend(const std::vector<Span>& spans, int padding = 0);
  /// The last step's result, after a replay.
  std::vector<float> result() const;
  /// Moves the last step's tokens on, in device memory: the same sequences, one token each at these positions.
  void move_to(const std::vector<std::int64_t>& positions);
  void* workspace() const { return workspace_->data(); }
  std::size_t workspace_bytes() const { return workspace_bytes_; }

 private:
  static constexpr std::int64_t kExtra = 16;  // elements between rows
  static constexpr std::size_t kGuard = 256;  // bytes before and after the result
  std::int64_t row() const { return case_.heads * case_.head_dim; }

  PagedCase case_;
  const PagedData& data_;
  std::vector<std::vector<std::int32_t>> tables_;
  std::int64_t stride_ = 0, tokens_ = 0;
  std::vector<Span> spans_;
  std::unique_ptr<DeviceArray<std::byte>> cache_, queries_, out_, workspace_;
  std::unique_ptr<DeviceArray<std::int32_t>> positions_, rows_, starts_, device_tables_;
  std::size_t workspace_bytes_ = 0;
  KvCacheView view_;
};

/// Attention of one token, in double.
std::vector<double> attend_exactly(const PagedCase& c, const PagedData& data, std::size_t sequence, std::int64_t position);

}  // namespace warploom::test
