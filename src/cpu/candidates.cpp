#include "cpu/candidates.h"

#include <algorithm>
#include <array>
#include <limits>

namespace warploom::cpu {

namespace {

constexpr std::size_t kSortable = 256;  // so few are sorted at once
constexpr int kBuckets = 1024;

constexpr auto kBefore = [](const Candidates::Item& a, const Candidates::Item& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
};

}  // namespace

void Candidates::add(const SampleKernels& kernels, const float* x, std::int64_t count, float floor, std::int64_t first_id) {
  const std::size_t room = count_ + static_cast<std::size_t>(count) + 16;
  if (ids_.size() < room) {
    ids_.resize(2 * room);
    values_.resize(2 * room);
    weights_.resize(2 * room);
  }
  const float least = std::max(floor, std::numeric_limits<float>::lowest());
  count_ += static_cast<std::size_t>(
      kernels.gather(x, count, least, static_cast<std::uint32_t>(first_id), ids_.data() + count_, values_.data() + count_));
}

void Candidates::weigh(const SampleKernels& kernels, float max, float scale) {
  kernels.weigh(values_.data(), size(), max, scale, weights_.data());
}

std::uint64_t Candidates::total() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t w : weights()) sum += w;
  return sum;
}

std::span<const Candidates::Item> Candidates::sorted() {
  order_.resize(count_);
  for (std::size_t i = 0; i < count_; ++i) order_[i] = {values_[i], ids_[i], 1};
  std::sort(order_.begin(), order_.end(), kBefore);
  return order_;
}

void Candidates::keep_first(std::int64_t k) {
  if (size() <= k) return;
  order_.resize(count_);
  for (std::size_t i = 0; i < count_; ++i) order_[i] = {values_[i], ids_[i], 1};
  keep_until(last_kept(static_cast<std::uint64_t>(k)));
}

void Candidates::keep_mass(std::uint64_t threshold) {
  order_.resize(count_);
  for (std::size_t i = 0; i < count_; ++i) order_[i] = {values_[i], ids_[i], weights_[i]};
  keep_until(last_kept(threshold));
}

// The item of order_ with which the masses, summed in order, reach `need`. A radix selection: buckets by value, of which the
// one where the sum gets there is cut up again. Any monotone buckets lead to the same item.
Candidates::Item Candidates::last_kept(std::uint64_t need) {
  std::array<std::uint64_t, kBuckets> mass;
  while (order_.size() > kSortable) {
    float low = order_[0].value, high = low;
    for (const Item& item : order_) {
      low = std::min(low, item.value);
      high = std::max(high, item.value);
    }
    if (low == high) break;  // ties, and so in order already
    const double per_logit = (kBuckets - 1) / (static_cast<double>(high) - static_cast<double>(low));
    const auto bucket = [&](const Item& item) {
      return static_cast<std::size_t>((static_cast<double>(high) - static_cast<double>(item.value)) * per_logit);
    };
    mass.fill(0);
    for (const Item& item : order_) mass[bucket(item)] += item.mass;
    std::size_t cut = 0;
    while (cut + 1 < kBuckets && mass[cut] < need) need -= mass[cut++];
    std::erase_if(order_, [&](const Item& item) { return bucket(item) != cut; });
  }
  if (order_.size() <= kSortable) std::sort(order_.begin(), order_.end(), kBefore);
  auto item = order_.begin();
  for (; item + 1 != order_.end() && item->mass < need; ++item) need -= item->mass;
  return *item;
}

void Candidates::keep_until(const Item& last) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Item item{values_[i], ids_[i], weights_[i]};
    ids_[kept] = item.id, values_[kept] = item.value, weights_[kept] = item.mass;
    kept += !kBefore(last, item);
  }
  count_ = kept;
}

void Candidates::drop_light(std::uint64_t least) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Item item{values_[i], ids_[i], weights_[i]};
    ids_[kept] = item.id, values_[kept] = item.value, weights_[kept] = item.mass;
    kept += item.mass >= least;
  }
  count_ = kept;
}

}  // namespace warploom::cpu
