// A paged cache in device memory with keys and values of several sequences, and steps of attention over it.
#pragma once

#include <memory>
#include <random>
#include <vector>

#include "cuda/device_sampling.h"
#include "support/attention_oracle.h"
#include "support/attention_step.h"
#include "support/encoding.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom::test {

/// Of the rows beside the cache.
struct RowTypes {
  DType queries = DType::f32, out = DType::f32;
};

/// Normally distributed queries, keys and values of every token, as they are in device memory. `spread`: standard deviation of the
/// queries.
using PagedData = PagedTokens<float>;
PagedData random_data(const PagedCase& c, std::mt19937& rng, DType queries = DType::f32, float spread = 1.0f);

/// The cache holds all tokens. Everything else in it is NaN. `seed` shuffles the blocks.
class PagedCache {
 public:
  PagedCache(const PagedCase& c, const PagedData& data, std::uint32_t seed, const RowTypes& types = {});

  /// Keys and values before `position` become NaN, blocks that end before it leave the table.
  void forget(std::size_t sequence, std::int64_t position);

  /// Arguments of a step, whose arrays live until the next one. `padding` tokens follow the tokens of `spans`, each as a sequence
  /// of its own.
  PagedAttentionArgs arguments(const std::vector<Span>& spans, int padding = 0);
  /// Runs the step; [tokens, heads * head_dim].
  std::vector<float> attend(const std::vector<Span>& spans, int padding = 0);
  /// The last step's result, after a replay. Checks what lies between and around its rows.
  std::vector<float> result() const;
  /// Moves the last step's tokens on, in device memory: the same sequences, one token each at these positions.
  void move_to(const std::vector<std::int64_t>& positions);
  void* workspace() const { return workspace_->data(); }
  std::size_t workspace_bytes() const { return workspace_bytes_; }

 private:
  static constexpr std::int64_t kExtra = 16;  // elements between rows
  static constexpr std::size_t kGuard = 256;  // bytes before and after the result
  std::int64_t row() const { return case_.heads * case_.head_dim; }
  void add_query(std::vector<float>& queries, std::size_t sequence, std::int64_t position) const;

  PagedCase case_;
  RowTypes types_;
  const PagedData& data_;
  BlockTables tables_;
  std::vector<Span> spans_;
  std::unique_ptr<DeviceArray<std::byte>> cache_, queries_, out_, workspace_;
  std::vector<std::unique_ptr<DeviceArray<std::int32_t>>> metadata_;
  PagedAttentionArgs args_;
  std::size_t workspace_bytes_ = 0;
  KvCacheView view_;
};

}  // namespace warploom::test
