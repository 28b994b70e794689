// Logits picked out of a row, and the cuts in the contract's order (logit descending, id ascending) made without sorting
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cpu/kernels.h"

namespace warploom::cpu {

class Candidates {
 public:
  struct Item {
    float value;
    std::uint32_t id;
    std::uint64_t weight;
  };

  explicit Candidates(const SampleKernels& kernels) : kernels_(&kernels) {}

  /// Empties the list and makes room for a row of `vocab_size` logits. No logit is above max, none below floor is taken, nor is a
  /// masked one.
  void start(std::int64_t vocab_size, float floor, float max);
  /// Appends the logits x[i] >= floor as ids first_id + i. Ids must come in ascending order.
  void add(const float* x, std::int64_t count, std::int64_t first_id);
  /// Appends the logits of a whole row, and returns the sum of all its weights, of those below the floor too.
  std::uint64_t add_and_sum(const float* x, std::int64_t count, float scale);

  /// Gives each its weight. The cuts below keep the weights right.
  void weigh(float scale);

  /// Keeps the first k in order. Weighs nothing.
  void keep_top_k(std::int64_t k);
  /// Keeps the shortest prefix of the order whose weights reach the threshold, which is at most their sum.
  void keep_top_p(std::uint64_t threshold, float scale);
  /// Keeps what weighs at least `min_weight`.
  void apply_min_p(std::uint64_t min_weight);

  /// The sum of the weights.
  std::uint64_t total() const;
  std::int64_t size() const { return count_; }
  std::span<const std::uint32_t> ids() const { return {ids_, static_cast<std::size_t>(count_)}; }  // ascending
  std::span<const std::uint64_t> weights() const { return {weights_.get(), static_cast<std::size_t>(count_)}; }
  /// All of them, in order, each with weight 1.
  std::span<const Item> sorted();

 private:
  template <typename WeightOf>
  Item last_kept(std::uint64_t need, const WeightOf& weight_of);
  void keep_until(const Item& last);

  const SampleKernels* kernels_;
  std::int64_t count_ = 0, room_ = 0, weight_room_ = 0;
  float floor_ = 0.0f, max_ = 0.0f;
  // Uninitialised: pages that no row needs are never touched. One piece, which malloc keeps; two it would give back.
  std::unique_ptr<std::byte[]> memory_;
  float* values_ = nullptr;
  std::uint32_t* ids_ = nullptr;
  std::unique_ptr<std::uint64_t[]> weights_;
  std::vector<Item> order_;  // what a cut may still lie in
};

}  // namespace warploom::cpu
