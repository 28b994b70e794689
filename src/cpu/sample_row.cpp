#include "cpu/sample_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/sampling_math.h"
#include "core/sampling_params.h"

namespace warploom::cpu {

namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kCoarse = 1024, kFine = 64;   // logits a block of the scan
constexpr std::int64_t kSampled = 64, kStride = 32;  // one of kStride runs of kSampled logits is sampled
constexpr int kSteps = 4 * 41;                       // quarter octaves under the maximum in which weights are not 0

}  // namespace

bool RowSampler::load(const void* logits, DType type, std::int64_t vocab_size, const SamplingInput& row) {
  vocab_ = vocab_size;
  const SamplingParams& p = row.params;
  const bool penalised = !row.history.empty() && has_penalties(p);
  const bool changed = penalised || !row.bias.empty() || !row.allowed.empty();
  // A block's maximum is a bound for top-k only if blocks are well more than k.
  block_ = kCoarse;
  while (block_ > kFine && p.top_k > vocab_size / block_ / 2) block_ /= 2;
  if (type == DType::f32) {
    x_ = static_cast<const float*>(logits);
  } else {
    row_.resize(static_cast<std::size_t>(vocab_size));
    kernels_.widen(static_cast<const std::uint16_t*>(logits), vocab_size, type == DType::bf16, row_.data());
    x_ = row_.data();
  }
  if (!scan()) return false;
  if (!changed) return true;
  if (x_ != row_.data()) row_.assign(x_, x_ + vocab_size);
  x_ = row_.data();
  if (penalised) apply_penalties(row);
  for (const LogitBias& bias : row.bias) {
    float& y = row_[static_cast<std::size_t>(bias.token)];
    y = sampling::add_rn(y, bias.bias);
  }
  if (!row.allowed.empty()) kernels_.mask(row_.data(), vocab_size, row.allowed.data());
  return scan();
}

// False if the row is invalid.
bool RowSampler::scan() {
  block_max_.resize(static_cast<std::size_t>((vocab_ + block_ - 1) / block_));
  if (kernels_.scan(x_, vocab_, block_, block_max_.data())) return false;
  max_ = *std::max_element(block_max_.begin(), block_max_.end());
  return true;
}

void RowSampler::apply_penalties(const SamplingInput& row) {
  const float repetition = row.params.repetition_penalty;
  const float frequency = row.params.frequency_penalty, presence = row.params.presence_penalty;
  if (repetition != 1.0f)
    for_each_token(row.history,
                   [&](float& y, std::uint32_t) { y = y > 0.0f ? y / repetition : sampling::mul_rn(y, repetition); });
  if (frequency == 0.0f && presence == 0.0f) return;
  for_each_token(row.history.subspan(static_cast<std::size_t>(row.count_begin)), [&](float& y, std::uint32_t count) {
    if (frequency != 0.0f) y = sampling::add_rn(y, -sampling::mul_rn(frequency, static_cast<float>(count)));
    if (presence != 0.0f) y = sampling::add_rn(y, -presence);
  });
}

// Calls change(logit, count) for each distinct token.
template <typename Change>
void RowSampler::for_each_token(std::span<const TokenId> tokens, const Change& change) {
  counts_.resize(static_cast<std::size_t>(vocab_));
  for (const TokenId token : tokens) ++counts_[static_cast<std::size_t>(token)];
  for (const TokenId token : tokens) {
    const auto at = static_cast<std::size_t>(token);
    if (const std::uint32_t count = std::exchange(counts_[at], 0u)) change(row_[at], count);
  }
}

TokenId RowSampler::find_argmax() const {
  std::int64_t block = 0;
  while (block_max_[static_cast<std::size_t>(block)] != max_) ++block;
  std::int64_t id = block * block_;
  while (x_[id] != max_) ++id;
  return static_cast<TokenId>(id);
}

// Lists every logit >= floor.
void RowSampler::gather(float floor) {
  list_.start(vocab_, floor, max_);
  for (std::size_t b = 0; b < block_max_.size(); ++b) {
    if (block_max_[b] < floor || block_max_[b] == kMasked) continue;
    const std::int64_t from = static_cast<std::int64_t>(b) * block_;
    list_.add(x_ + from, std::min(block_, vocab_ - from), from);
  }
  listed_ = true;
}

// Calls visit(first id, count) for a small part of the row, spread over it.
template <typename Visit>
void RowSampler::sample_row(const Visit& visit) const {
  for (std::int64_t at = 0; at < vocab_; at += kStride * kSampled) visit(at, std::min(kSampled, vocab_ - at));
}

// A logit that at least k logits reach; if the row is sampled, only most likely.
float RowSampler::floor_of_top_k(std::int64_t k) {
  // The k-th largest of the block maxima bounds the k-th largest logit from below.
  std::int64_t rank = k;
  if (k <= static_cast<std::int64_t>(block_max_.size())) {
    maxima_ = block_max_;
  } else {
    maxima_.clear();
    sample_row([&](std::int64_t at, std::int64_t count) { maxima_.insert(maxima_.end(), x_ + at, x_ + at + count); });
    const double expected = static_cast<double>(k) * static_cast<double>(maxima_.size()) / static_cast<double>(vocab_);
    rank = static_cast<std::int64_t>(expected + 4.0 * std::sqrt(expected)) + 1;
    if (rank > static_cast<std::int64_t>(maxima_.size())) return kMasked;
  }
  const auto kth = maxima_.begin() + (rank - 1);
  std::nth_element(maxima_.begin(), kth, maxima_.end(), std::greater<>());
  return *kth;
}

void RowSampler::keep_top_k(std::int64_t k) {
  gather(floor_of_top_k(k));
  if (list_.size() < k) gather(kMasked);
  list_.keep_top_k(k);
}

// Estimates how many quarter octaves below the maximum the share top_p is reached. Every block's maximum counts for itself, so
// that a peaked row's few heavy logits are not missed; the logits sampled beside them count for those that they stand for.
int RowSampler::estimate_depth(float top_p) {
  std::array<std::uint64_t, kSteps> weights_at{};
  std::uint64_t all = 0;
  const auto add = [&](float x, std::uint64_t w) {
    if (w == 0) return;
    weights_at[static_cast<std::size_t>(std::min((max_ - x) * scale_ * 4.0f, kSteps - 1.0f))] += w;
    all += w;
  };
  for (const float x : block_max_) add(x, sampling::weight(x, max_, scale_));
  sample_row([&](std::int64_t at, std::int64_t count) {
    std::array<std::uint64_t, kSampled> weights;
    kernels_.weigh(x_ + at, count, max_, scale_, weights.data());
    const float own = block_max_[static_cast<std::size_t>(at / block_)];
    for (std::int64_t i = 0; i < count; ++i)
      if (x_[at + i] != own) add(x_[at + i], kStride * weights[static_cast<std::size_t>(i)]);
  });
  const double share = static_cast<double>(top_p) * static_cast<double>(all);
  double sum = 0.0;
  int step = 0;
  while (step < kSteps && (sum += static_cast<double>(weights_at[static_cast<std::size_t>(step)])) < share) ++step;
  return step;
}

// Lists the heaviest logits, down to a depth that is estimated. A wrong estimate costs time only.
void RowSampler::keep_top_p(float top_p) {
  if (listed_) return list_.keep_top_p(sampling::top_p_threshold(top_p, list_.total()), scale_);
  const auto floor = [&](int depth) { return depth < kSteps ? max_ - static_cast<float>(depth) / 4.0f / scale_ : kMasked; };
  int depth = estimate_depth(top_p) + 2;
  list_.start(vocab_, floor(depth), max_);
  const std::uint64_t threshold = sampling::top_p_threshold(top_p, list_.add_and_sum(x_, vocab_, scale_));
  list_.weigh(scale_);
  for (int deeper = 4; list_.total() < threshold; deeper *= 2) {
    gather(floor(depth += deeper));
    list_.weigh(scale_);
  }
  list_.keep_top_p(threshold, scale_);
  listed_ = true;
}

std::uint64_t RowSampler::sum_weights(float scale, std::uint64_t min_weight, std::int64_t* count) {
  sums_.resize(static_cast<std::size_t>((vocab_ + kSumBlock - 1) / kSumBlock));
  const std::int64_t n = kernels_.sum_weights(x_, vocab_, max_, scale, min_weight, sums_.data());
  if (count) *count = n;
  std::uint64_t total = 0;
  for (const std::uint64_t s : sums_) total += s;
  return total;
}

void RowSampler::draw_from_list(const SamplingInput& row, SampleResult& result) {
  result.num_kept = list_.size();
  result.total_weight = list_.total();
  std::uint64_t r =
      sampling::draw(sampling::random_bits(row.params.seed, row.position, row.subsequence), result.total_weight);
  std::size_t i = 0;
  while (r >= list_.weights()[i]) r -= list_.weights()[i++];
  result.token = static_cast<TokenId>(list_.ids()[i]);
}

// Without top-k and top-p every candidate of enough weight is kept: the sums of the blocks lead to the token.
void RowSampler::draw_from_row(const SamplingInput& row, std::uint64_t min_weight, const SampleOutputs& wants,
                               SampleResult& result) {
  result.total_weight = sum_weights(scale_, min_weight, &result.num_kept);
  std::uint64_t r =
      sampling::draw(sampling::random_bits(row.params.seed, row.position, row.subsequence), result.total_weight);
  std::size_t block = 0;
  while (r >= sums_[block]) r -= sums_[block++];
  const auto from = static_cast<std::int64_t>(block) * kSumBlock;
  const std::int64_t count = std::min<std::int64_t>(kSumBlock, vocab_ - from);
  weights_.resize(kSumBlock);
  kernels_.weigh(x_ + from, count, max_, scale_, weights_.data());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t w = weights_[static_cast<std::size_t>(i)];
    if (w < min_weight) continue;
    if (r < w) {
      result.token = static_cast<TokenId>(from + i);
      break;
    }
    r -= w;
  }
  if (wants.kept) {
    gather(kMasked);
    list_.weigh(scale_);
    list_.apply_min_p(min_weight);
  }
}

void RowSampler::report_logprobs(const SampleOutputs& wants, SampleResult& result) {
  if (wants.filtered_logprob) {
    const std::uint64_t w = result.num_kept == 1 ? result.total_weight : sampling::weight(x_[result.token], max_, scale_);
    result.filtered_logprob = std::log(static_cast<double>(w) / static_cast<double>(result.total_weight));
  }
  if (!wants.logprob && wants.top_logprobs <= 0) return;
  const double normaliser = std::log(static_cast<double>(sum_weights(sampling::exponent_scale(1.0f), 1)) * 0x1p-40);
  const auto logprob = [&](float x) { return (static_cast<double>(x) - static_cast<double>(max_)) - normaliser; };
  if (wants.logprob) result.logprob = logprob(x_[result.token]);
  if (wants.top_logprobs <= 0) return;
  keep_top_k(wants.top_logprobs);
  for (const Candidates::Item& item : list_.sorted())
    result.top.push_back({static_cast<TokenId>(item.id), logprob(item.value)});
}

void RowSampler::run(const void* logits, DType type, std::int64_t vocab_size, const SamplingInput& row,
                     const SampleOutputs& wants, SampleResult& result) {
  result = {};
  listed_ = false;
  if (!load(logits, type, vocab_size, row)) {
    result.status = SampleStatus::invalid_logits;
    return;
  }
  if (max_ == kMasked) {
    result.status = SampleStatus::all_masked;
    return;
  }
  const SamplingParams& p = row.params;
  result.argmax = find_argmax();
  scale_ = p.temperature > 0.0f ? sampling::exponent_scale(p.temperature) : sampling::exponent_scale(1.0f);
  if (p.temperature == 0.0f) {
    result.token = result.argmax;
    result.num_kept = 1;
    result.total_weight = sampling::kArgmaxWeight;
    if (wants.kept) result.kept.push_back(result.argmax);
  } else {
    const std::uint64_t min_weight = sampling::min_p_weight(p.min_p);
    if (p.top_k > 0 && p.top_k < vocab_size) {
      keep_top_k(p.top_k);
      list_.weigh(scale_);
    }
    if (p.top_p < 1.0f) keep_top_p(p.top_p);
    if (listed_) {
      // Every token that top-p keeps weighs something.
      if (min_weight > 1 || p.top_p >= 1.0f) list_.apply_min_p(min_weight);
      draw_from_list(row, result);
    } else {
      draw_from_row(row, min_weight, wants, result);
    }
    if (wants.kept) result.kept.assign(list_.ids().begin(), list_.ids().end());
  }
  report_logprobs(wants, result);
}

}  // namespace warploom::cpu
