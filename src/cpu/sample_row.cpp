#include "cpu/sample_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/half.h"
#include "core/sampling_math.h"

namespace warploom::cpu {

namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// The order of the contract: logit descending, id ascending.
constexpr auto kBefore = [](const auto& a, const auto& b) { return a.value > b.value || (a.value == b.value && a.id < b.id); };
constexpr auto kById = [](const auto& a, const auto& b) { return a.id < b.id; };

}  // namespace

bool RowSampler::load(const void* logits, LogitType type, std::int64_t vocab, const SampleRow& row) {
  vocab_ = vocab;
  padded_ = (vocab + kSampleBlock - 1) / kSampleBlock * kSampleBlock;
  row_.resize(static_cast<std::size_t>(padded_));
  block_max_.resize(static_cast<std::size_t>(padded_ / kSampleBlock));
  const auto count = static_cast<std::size_t>(vocab);
  if (type == LogitType::f32) {
    std::memcpy(row_.data(), logits, count * sizeof(float));
  } else {
    const auto* narrow = static_cast<const std::uint16_t*>(logits);
    for (std::size_t i = 0; i < count; ++i) row_[i] = type == LogitType::f16 ? half_to_float(narrow[i]) : bfloat16_to_float(narrow[i]);
  }
  std::fill(row_.begin() + vocab, row_.end(), kMasked);
  if (!scan()) return false;
  const SamplingParams& p = row.params;
  const bool penalised = !row.history.empty() && (p.repetition_penalty != 1.0f || p.frequency_penalty != 0.0f || p.presence_penalty != 0.0f);
  if (!penalised && row.bias.empty()) return true;
  if (penalised) apply_penalties(row);
  for (const LogitBias& bias : row.bias) {
    float& y = row_[static_cast<std::size_t>(bias.token)];
    y = sampling::add_rn(y, bias.bias);
  }
  return scan();
}

// False where the row is invalid.
bool RowSampler::scan() {
  if (kernels_.scan(row_.data(), padded_, block_max_.data())) return false;
  max_ = *std::max_element(block_max_.begin(), block_max_.end());
  return true;
}

void RowSampler::apply_penalties(const SampleRow& row) {
  history_.assign(row.history.begin(), row.history.end());
  std::sort(history_.begin(), history_.end());
  const SamplingParams& p = row.params;
  for (std::size_t i = 0; i < history_.size();) {
    std::size_t end = i;
    while (end < history_.size() && history_[end] == history_[i]) ++end;
    float& y = row_[static_cast<std::size_t>(history_[i])];
    if (p.repetition_penalty != 1.0f) y = y > 0.0f ? y / p.repetition_penalty : sampling::mul_rn(y, p.repetition_penalty);
    if (p.frequency_penalty != 0.0f) y = sampling::add_rn(y, -sampling::mul_rn(p.frequency_penalty, static_cast<float>(end - i)));
    if (p.presence_penalty != 0.0f) y = sampling::add_rn(y, -p.presence_penalty);
    i = end;
  }
}

TokenId RowSampler::find_argmax() const {
  std::size_t block = 0;
  while (block_max_[block] != max_) ++block;
  std::size_t id = block * kSampleBlock;
  while (row_[id] != max_) ++id;
  return static_cast<TokenId>(id);
}

// Lists every logit >= floor, ids ascending.
void RowSampler::gather(float floor) {
  ids_.resize(static_cast<std::size_t>(padded_));
  values_.resize(static_cast<std::size_t>(padded_) + 16);
  const auto count = static_cast<std::size_t>(
      kernels_.gather(row_.data(), padded_, block_max_.data(), std::max(floor, std::numeric_limits<float>::lowest()), ids_.data(), values_.data()));
  weights_.resize(count + 16);
  std::fill(values_.begin() + static_cast<std::ptrdiff_t>(count), values_.begin() + static_cast<std::ptrdiff_t>((count + 15) / 16 * 16), max_);
  kernels_.weigh(values_.data(), static_cast<std::int64_t>(count), max_, scale_, weights_.data());
  list_.resize(count);
  for (std::size_t i = 0; i < count; ++i) list_[i] = {values_[i], ids_[i], weights_[i]};
  listed_ = true;
}

// The k-th largest of the block maxima bounds the k-th largest logit from below: only what reaches it can be kept.
void RowSampler::keep_top_k(std::int64_t k) {
  float floor = kMasked;
  if (k <= static_cast<std::int64_t>(block_max_.size())) {
    maxima_ = block_max_;
    const auto kth = maxima_.begin() + (k - 1);
    std::nth_element(maxima_.begin(), kth, maxima_.end(), std::greater<>());
    floor = *kth;
  }
  gather(floor);
  if (static_cast<std::int64_t>(list_.size()) <= k) return;
  partition_ = list_;
  const auto last = partition_.begin() + (k - 1);
  std::nth_element(partition_.begin(), last, partition_.end(), kBefore);
  const Candidate cut = *last;
  std::erase_if(list_, [&](const Candidate& c) { return kBefore(cut, c); });
}

// How many of the first items, in the order of the contract, reach the threshold together; partitions items so that they stand
// in front. A selection by mass: expected linear time.
std::size_t RowSampler::cut_by_mass(std::vector<Candidate>& items, std::uint64_t threshold) {
  std::size_t begin = 0, end = items.size();
  std::uint64_t need = threshold;
  std::uint64_t state = 0x9E3779B97F4A7C15ull;  // for pivots only: the result does not depend on them
  while (end - begin > 1) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const Candidate pivot = items[begin + static_cast<std::size_t>((static_cast<unsigned __int128>(state) * (end - begin)) >> 64)];
    std::uint64_t mass = 0;
    const auto middle = static_cast<std::size_t>(std::partition(items.begin() + static_cast<std::ptrdiff_t>(begin), items.begin() + static_cast<std::ptrdiff_t>(end),
                                                                [&](const Candidate& c) {
                                                                  const bool front = !kBefore(pivot, c);  // the pivot itself too
                                                                  mass += front ? c.weight : 0;
                                                                  return front;
                                                                }) -
                                                 items.begin());
    if (mass < need) {
      need -= mass;
      begin = middle;
    } else if (middle == end) {
      // The pivot is the last in order: it is needed only if the rest falls short.
      if (mass - pivot.weight < need) return end;
      const auto at = std::find_if(items.begin() + static_cast<std::ptrdiff_t>(begin), items.begin() + static_cast<std::ptrdiff_t>(end),
                                   [&](const Candidate& c) { return c.id == pivot.id; });
      std::iter_swap(at, items.begin() + static_cast<std::ptrdiff_t>(end - 1));
      --end;
    } else {
      end = middle;
    }
  }
  return end;
}

// Lists the heaviest logits until they hold the threshold. Where to stop is guessed; a wrong guess costs time only.
void RowSampler::gather_mass(std::uint64_t threshold, std::uint64_t total) {
  // Mass of a sample of the row by octaves under the maximum. Blocks are spread evenly; the top of the row, which a sample
  // misses easily, only makes the guess too low.
  constexpr int kOctaves = 64, kStride = 16;
  std::uint64_t octave[kOctaves] = {};
  std::uint64_t sampled = 0;
  alignas(64) std::uint64_t weights[kSampleBlock];
  for (std::int64_t at = 0; at < padded_; at += kStride * kSampleBlock) {
    kernels_.weigh(row_.data() + at, kSampleBlock, max_, scale_, weights);
    for (const std::uint64_t w : weights) {
      if (w == 0) continue;
      octave[40 - std::min(40, 63 - __builtin_clzll(w))] += w;
      sampled += w;
    }
  }
  int deepest = 2;
  if (sampled > 0) {
    const auto share = static_cast<double>(threshold) / static_cast<double>(total) * static_cast<double>(sampled);
    double mass = static_cast<double>(octave[0]);
    int o = 0;
    while (o < kOctaves - 1 && mass < share) mass += static_cast<double>(octave[++o]);
    deepest = std::max(deepest, o + 1);
  }
  for (int depth : {2, deepest, deepest + 2, deepest + 6, 0}) {
    gather(depth > 0 && depth < 41 ? max_ - static_cast<float>(depth) / scale_ : kMasked);
    std::uint64_t mass = 0;
    for (const Candidate& c : list_) mass += c.weight;
    if (mass >= threshold) return;
  }
}

void RowSampler::keep_top_p(float top_p) {
  if (listed_) {
    std::uint64_t total = 0;
    for (const Candidate& c : list_) total += c.weight;
    partition_ = list_;
    const std::uint64_t threshold = sampling::top_p_threshold(top_p, total);
    partition_.resize(cut_by_mass(partition_, threshold));
  } else {
    const std::uint64_t total = sum_weights(scale_, 1);
    const std::uint64_t threshold = sampling::top_p_threshold(top_p, total);
    gather_mass(threshold, total);
    partition_ = list_;
    partition_.resize(cut_by_mass(partition_, threshold));
  }
  const Candidate cut = *std::max_element(partition_.begin(), partition_.end(), kBefore);  // the last in order
  std::erase_if(list_, [&](const Candidate& c) { return kBefore(cut, c); });
}

std::uint64_t RowSampler::sum_weights(float scale, std::uint64_t least, std::int64_t* count) {
  sums_.resize(static_cast<std::size_t>((padded_ + kSumBlock - 1) / kSumBlock));
  const std::int64_t n = kernels_.sum_weights(row_.data(), padded_, max_, scale, least, sums_.data());
  if (count) *count = n;
  std::uint64_t total = 0;
  for (const std::uint64_t s : sums_) total += s;
  return total;
}

void RowSampler::drop_light(std::uint64_t least) {
  std::erase_if(list_, [least](const Candidate& c) { return c.weight < least; });
}

void RowSampler::draw_from_list(const SampleRow& row, SampleResult& result) {
  result.survivors = static_cast<std::int64_t>(list_.size());
  for (const Candidate& c : list_) result.total_weight += c.weight;
  std::uint64_t r = sampling::draw(sampling::random_bits(row.params.seed, row.position, row.stream), result.total_weight);
  for (const Candidate& c : list_) {
    if (r < c.weight) {
      result.token = static_cast<TokenId>(c.id);
      return;
    }
    r -= c.weight;
  }
}

// Without top-k and top-p every candidate of enough weight survives: the blocks' sums lead to the token.
void RowSampler::draw_from_row(const SampleRow& row, std::uint64_t least, const SampleWants& wants, SampleResult& result) {
  result.total_weight = sum_weights(scale_, least, &result.survivors);
  std::uint64_t r = sampling::draw(sampling::random_bits(row.params.seed, row.position, row.stream), result.total_weight);
  std::size_t block = 0;
  while (r >= sums_[block]) r -= sums_[block++];
  const auto from = static_cast<std::int64_t>(block) * kSumBlock;
  const std::int64_t count = std::min<std::int64_t>(kSumBlock, padded_ - from);
  weights_.resize(kSumBlock);
  kernels_.weigh(row_.data() + from, count, max_, scale_, weights_.data());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t w = weights_[static_cast<std::size_t>(i)];
    if (w < least) continue;
    if (r < w) {
      result.token = static_cast<TokenId>(from + i);
      break;
    }
    r -= w;
  }
  if (wants.kept) {
    gather(kMasked);
    drop_light(least);
  }
}

void RowSampler::report_logprobs(const SampleWants& wants, SampleResult& result) {
  if (wants.filtered_logprob) {
    const std::uint64_t w = result.survivors == 1 ? result.total_weight : sampling::weight(row_[static_cast<std::size_t>(result.token)], max_, scale_);
    result.filtered_logprob = std::log(static_cast<double>(w) / static_cast<double>(result.total_weight));
  }
  if (!wants.logprob && wants.top_logprobs <= 0) return;
  const double normaliser = std::log(static_cast<double>(sum_weights(sampling::exponent_scale(1.0f), 1)) * 0x1p-40);
  const auto logprob = [&](float x) { return (static_cast<double>(x) - static_cast<double>(max_)) - normaliser; };
  if (wants.logprob) result.logprob = logprob(row_[static_cast<std::size_t>(result.token)]);
  if (wants.top_logprobs <= 0) return;
  keep_top_k(wants.top_logprobs);
  std::sort(list_.begin(), list_.end(), kBefore);
  for (const Candidate& c : list_) result.top.push_back({static_cast<TokenId>(c.id), logprob(c.value)});
}

void RowSampler::run(const void* logits, LogitType type, std::int64_t vocab, const SampleRow& row, const SampleWants& wants,
                     SampleResult& result) {
  result = {};
  listed_ = false;
  if (!load(logits, type, vocab, row)) {
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
    result.survivors = 1;
    result.total_weight = sampling::kArgmaxWeight;
    list_.assign(1, {max_, static_cast<std::uint32_t>(result.argmax), sampling::kArgmaxWeight});
  } else {
    const std::uint64_t least = sampling::min_p_weight(p.min_p);
    if (p.top_k > 0 && p.top_k < vocab) keep_top_k(p.top_k);
    if (p.top_p < 1.0f) keep_top_p(p.top_p);
    if (listed_) {
      drop_light(least);
      draw_from_list(row, result);
    } else {
      draw_from_row(row, least, wants, result);
    }
  }
  if (wants.kept)
    for (const Candidate& c : list_) result.kept.push_back(static_cast<TokenId>(c.id));
  report_logprobs(wants, result);
}

}  // namespace warploom::cpu
