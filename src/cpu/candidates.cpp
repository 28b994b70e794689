#include "cpu/candidates.h"

#include <algorithm>
#include <array>
#include <limits>

namespace warploom::cpu {

namespace {

constexpr std::size_t kSortable = 256;  // so few are sorted at once
constexpr std::size_t kBuckets = 1024;
constexpr std::int64_t kSlack = 16;  // what kernels may write behind the last one
constexpr float kLowest = std::numeric_limits<float>::lowest();

constexpr auto kBefore = [](const Candidates::Item& a, const Candidates::Item& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
};

// Values in [low, high] by buckets of equal width, the highest first.
class Buckets {
 public:
  Buckets(float low, float high)
      : high_(high),
        per_logit_(low < high ? (kBuckets - 1) / (static_cast<double>(high) - static_cast<double>(low)) : 0.0) {}

  std::size_t of(float value) const { return static_cast<std::size_t>((high_ - static_cast<double>(value)) * per_logit_); }
  void add(float value, std::uint64_t weight) { weight_[of(value)] += weight; }
  /// The bucket where the sum reaches `need`, from which the buckets before it are subtracted.
  std::size_t cut(std::uint64_t& need) const {
    std::size_t bucket = 0;
    while (bucket + 1 < kBuckets && weight_[bucket] < need) need -= weight_[bucket++];
    return bucket;
  }

 private:
  double high_, per_logit_;
  std::array<std::uint64_t, kBuckets> weight_{};
};

}  // namespace

void Candidates::start(std::int64_t vocab_size, float floor, float max) {
  count_ = 0;
  floor_ = std::max(floor, kLowest);
  max_ = max;
  if (room_ >= vocab_size + kSlack) return;
  room_ = vocab_size + kSlack;
  const auto room = static_cast<std::size_t>(room_);
  memory_ = std::make_unique_for_overwrite<std::byte[]>(room * (sizeof(float) + sizeof(std::uint32_t)));
  values_ = reinterpret_cast<float*>(memory_.get());
  ids_ = reinterpret_cast<std::uint32_t*>(memory_.get() + room * sizeof(float));
}

void Candidates::add(const float* x, std::int64_t count, std::int64_t first_id) {
  count_ += kernels_->gather(x, count, floor_, static_cast<std::uint32_t>(first_id), ids_ + count_, values_ + count_);
}

std::uint64_t Candidates::add_and_sum(const float* x, std::int64_t count, float scale) {
  std::uint64_t sum = 0;
  count_ = kernels_->gather_and_sum(x, count, max_, scale, floor_, ids_, values_, &sum);
  return sum;
}

void Candidates::weigh(float scale) {
  if (weight_room_ < count_) {
    weight_room_ = count_ + count_ / 4;
    weights_ = std::make_unique_for_overwrite<std::uint64_t[]>(static_cast<std::size_t>(weight_room_));
  }
  kernels_->weigh(values_, count_, max_, scale, weights_.get());
}

std::uint64_t Candidates::total() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t w : weights()) sum += w;
  return sum;
}

std::span<const Candidates::Item> Candidates::sorted() {
  order_.clear();
  for (std::int64_t i = 0; i < count_; ++i) order_.push_back({values_[i], ids_[i], 1});
  std::sort(order_.begin(), order_.end(), kBefore);
  return order_;
}

void Candidates::keep_top_k(std::int64_t k) {
  if (count_ <= k) return;
  keep_until(last_kept(static_cast<std::uint64_t>(k), [](std::int64_t) { return std::uint64_t{1}; }));
}

void Candidates::keep_top_p(std::uint64_t threshold, float scale) {
  keep_until(last_kept(threshold, [&](std::int64_t i) { return weights_[static_cast<std::size_t>(i)]; }));
  weigh(scale);
}

// The item with which the weights, summed in order, reach `need`. A radix selection: buckets by value, of which the one where
// the sum gets there is cut up again. Any monotone buckets lead to the same item.
template <typename WeightOf>
Candidates::Item Candidates::last_kept(std::uint64_t need, const WeightOf& weight_of) {
  order_.clear();
  if (count_ <= static_cast<std::int64_t>(kSortable)) {
    for (std::int64_t i = 0; i < count_; ++i) order_.push_back({values_[i], ids_[i], weight_of(i)});
  } else {
    Buckets buckets(floor_ > kLowest ? floor_ : *std::min_element(values_, values_ + count_), max_);
    for (std::int64_t i = 0; i < count_; ++i) buckets.add(values_[i], weight_of(i));
    const std::size_t cut = buckets.cut(need);
    for (std::int64_t i = 0; i < count_; ++i)
      if (buckets.of(values_[i]) == cut) order_.push_back({values_[i], ids_[i], weight_of(i)});
  }
  while (order_.size() > kSortable) {
    const auto by_value = [](const Item& a, const Item& b) { return a.value < b.value; };
    const auto [low, high] = std::minmax_element(order_.begin(), order_.end(), by_value);
    if (low->value == high->value) break;  // ties, and so in order already
    Buckets buckets(low->value, high->value);
    for (const Item& item : order_) buckets.add(item.value, item.weight);
    const std::size_t cut = buckets.cut(need);
    std::erase_if(order_, [&](const Item& item) { return buckets.of(item.value) != cut; });
  }
  if (order_.size() <= kSortable) std::sort(order_.begin(), order_.end(), kBefore);
  auto item = order_.begin();
  for (; item + 1 != order_.end() && item->weight < need; ++item) need -= item->weight;
  return *item;
}

void Candidates::keep_until(const Item& last) { count_ = kernels_->keep(values_, ids_, count_, last.value, last.id); }

void Candidates::apply_min_p(std::uint64_t min_weight) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count_; ++i) {
    const std::uint64_t w = weights_[static_cast<std::size_t>(i)];
    values_[kept] = values_[i], ids_[kept] = ids_[i], weights_[static_cast<std::size_t>(kept)] = w;
    kept += w >= min_weight;
  }
  count_ = kept;
}

}  // namespace warploom::cpu
