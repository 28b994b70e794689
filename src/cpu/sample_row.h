// One row of logits to one token. Nothing is sorted as a whole: the row is read once for its maximum, once for its weights
// if a filter needs their sum, and what may still be kept is picked out by block maxima and narrowed by partitioning.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/candidates.h"
#include "cpu/kernels.h"
#include "warploom/sampling.h"

namespace warploom::cpu {

/// Scratch of one thread, reused from row to row.
class RowSampler {
 public:
  explicit RowSampler(const SampleKernels& kernels) : kernels_(kernels), list_(kernels) {}

  /// logits: `vocab_size` values of `type`. The row's arguments are valid.
  void run(const void* logits, DType type, std::int64_t vocab_size, const SamplingInput& row, const SampleOutputs& wants,
           SampleResult& result);
  /// A logit of the last row, after penalties, bias and mask. The caller's logits must still be there.
  float logit(TokenId token) const { return x_[token]; }

 private:
  bool load(const void* logits, DType type, std::int64_t vocab_size, const SamplingInput& row);
  bool scan();
  void apply_penalties(const SamplingInput& row);
  template <typename Change>
  void for_each_token(std::span<const TokenId> tokens, const Change& change);
  TokenId find_argmax() const;
  void gather(float floor);
  void keep_top_k(std::int64_t k);
  void keep_top_p(float top_p);
  template <typename Visit>
  void sample_row(const Visit& visit) const;
  float floor_of_top_k(std::int64_t k);
  int estimate_depth(float top_p);
  void draw_from_list(const SamplingInput& row, SampleResult& result);
  void draw_from_row(const SamplingInput& row, std::uint64_t min_weight, const SampleOutputs& wants, SampleResult& result);
  std::uint64_t sum_weights(float scale, std::uint64_t min_weight, std::int64_t* count = nullptr);
  void report_logprobs(const SampleOutputs& wants, SampleResult& result);

  const SampleKernels& kernels_;
  const float* x_ = nullptr;  // the row after penalties, bias and mask: the caller's own if nothing changes it
  std::int64_t vocab_ = 0;
  std::int64_t block_ = 0;  // logits that share an entry of block_max_
  float max_ = 0.0f, scale_ = 0.0f;
  bool listed_ = false;  // the kept tokens so far are in list_; else they are all candidates
  Candidates list_;
  std::vector<float> row_;  // what x_ points to if it is a changed or widened copy
  std::vector<float> block_max_, maxima_;
  std::vector<std::uint64_t> sums_;
  std::vector<std::uint64_t> weights_;
  std::vector<std::uint32_t> counts_;  // by token; all 0 between calls
};

}  // namespace warploom::cpu
