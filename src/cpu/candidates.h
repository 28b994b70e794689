// Logits picked out of a row, and the cuts in the contract's order (logit descending, id ascending) made without sorting
// them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernels.h"

namespace warploom::cpu {

class Candidates {
 public:
  struct Item {
    float value;
    std::uint32_t id;
    std::uint64_t mass;
  };

  void clear() { count_ = 0; }
  /// Appends the logits x[i] >= floor as ids first_id + i. Ids must come in ascending order; masked logits are never taken.
  void add(const SampleKernels& kernels, const float* x, std::int64_t count, float floor, std::int64_t first_id);
  void weigh(const SampleKernels& kernels, float max, float scale);

  /// Keeps the first k in order.
  void keep_first(std::int64_t k);
  /// Keeps the shortest prefix of the order whose weights reach the threshold, which is at most their sum.
  void keep_mass(std::uint64_t threshold);
  /// Keeps what weighs at least so much.
  void drop_light(std::uint64_t least);

  std::uint64_t total() const;
  std::int64_t size() const { return static_cast<std::int64_t>(count_); }
  std::span<const std::uint32_t> ids() const { return {ids_.data(), count_}; }  // ascending
  std::span<const float> values() const { return {values_.data(), count_}; }
  std::span<const std::uint64_t> weights() const { return {weights_.data(), count_}; }
  /// All of them, in order, each with mass 1.
  std::span<const Item> sorted();

 private:
  Item last_kept(std::uint64_t need);
  void keep_until(const Item& last);

  std::size_t count_ = 0;
  std::vector<std::uint32_t> ids_;
  std::vector<float> values_;
  std::vector<std::uint64_t> weights_;
  std::vector<Item> order_;  // what a cut may still lie in
};

}  // namespace warploom::cpu
