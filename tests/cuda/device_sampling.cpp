#include "cuda/device_sampling.h"

#include <algorithm>
#include <stdexcept>

#include <gtest/gtest.h>

namespace warploom::test {

namespace {

constexpr std::size_t kGuard = 16;

// Room for `rows` values between guards.
template <typename T>
class Guarded {
 public:
  Guarded(std::size_t rows, T guard) : rows_(rows), guard_(guard), array_(std::vector<T>(rows + 2 * kGuard, guard)) {}
  T* data() const { return array_.data() + kGuard; }
  std::vector<T> host() const {
    const std::vector<T> all = array_.host();
    for (std::size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(all[i], guard_);
      EXPECT_EQ(all[all.size() - 1 - i], guard_);
    }
    return {all.begin() + kGuard, all.end() - kGuard};
  }

 private:
  std::size_t rows_;
  T guard_;
  DeviceArray<T> array_;
};

}  // namespace

void throw_on_error(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

std::vector<SampleResult> sample_on_device(const LogitsView& logits, std::span<const SamplingInput> rows, int parts,
                                           const SampleOutputs& wants) {
  const std::size_t count = rows.size(), element = logits.type == DType::f32 ? 4 : 2;
  std::vector<float> temperature, top_p, min_p, repetition, frequency, presence;
  std::vector<std::int32_t> top_k;
  std::vector<std::uint64_t> seed, position;
  std::vector<std::uint32_t> subsequence, allowed;
  std::vector<TokenId> history;
  std::vector<LogitBias> bias;
  std::vector<std::int64_t> history_offsets{0}, bias_offsets{0}, count_begin;
  const auto words = static_cast<std::size_t>((logits.vocab_size + 31) / 32);
  if (std::any_of(rows.begin(), rows.end(), [](const SamplingInput& row) { return !row.allowed.empty(); }))
    allowed.assign(count * words, ~0u);
  for (std::size_t r = 0; r < count; ++r) {
    const SamplingInput& row = rows[r];
    if (!row.allowed.empty())
      std::copy_n(row.allowed.begin(), words, allowed.begin() + static_cast<std::ptrdiff_t>(r * words));
    const SamplingParams& p = row.params;
    temperature.push_back(p.temperature);
    top_p.push_back(p.top_p);
    min_p.push_back(p.min_p);
    repetition.push_back(p.repetition_penalty);
    frequency.push_back(p.frequency_penalty);
    presence.push_back(p.presence_penalty);
    top_k.push_back(static_cast<std::int32_t>(p.top_k));
    seed.push_back(p.seed);
    position.push_back(row.position);
    subsequence.push_back(row.subsequence);
    history.insert(history.end(), row.history.begin(), row.history.end());
    count_begin.push_back(row.count_begin);
    bias.insert(bias.end(), row.bias.begin(), row.bias.end());
    history_offsets.push_back(static_cast<std::int64_t>(history.size()));
    bias_offsets.push_back(static_cast<std::int64_t>(bias.size()));
  }
  const std::size_t bytes =
      ((count - 1) * static_cast<std::size_t>(logits.row_stride) + static_cast<std::size_t>(logits.vocab_size)) * element;
  const DeviceArray<std::byte> d_logits({static_cast<const std::byte*>(logits.data), bytes});
  const DeviceArray<float> d_temperature(temperature), d_top_p(top_p), d_min_p(min_p), d_repetition(repetition),
      d_frequency(frequency), d_presence(presence);
  const DeviceArray<std::int32_t> d_top_k(top_k);
  const DeviceArray<std::uint64_t> d_seed(seed), d_position(position);
  const DeviceArray<std::uint32_t> d_subsequence(subsequence), d_allowed(allowed);
  const DeviceArray<TokenId> d_history(history);
  const DeviceArray<LogitBias> d_bias(bias);
  const DeviceArray<std::int64_t> d_history_offsets(history_offsets), d_bias_offsets(bias_offsets),
      d_count_begin(count_begin);
  const Guarded<TokenId> token(count, 77777777), argmax(count, 77777777);
  const Guarded<SampleStatus> status(count, static_cast<SampleStatus>(0xa5));
  const Guarded<std::int64_t> num_kept(count, -5);
  const Guarded<std::uint64_t> total(count, 5);
  const Guarded<double> logprob(count, 5.0), filtered(count, 5.0);

  SampleArgs a;
  a.logits = d_logits.data();
  a.type = logits.type;
  a.rows = logits.rows;
  a.vocab_size = logits.vocab_size;
  a.row_stride = logits.row_stride;
  a.temperature = d_temperature.data();
  a.top_k = d_top_k.data();
  a.top_p = d_top_p.data();
  a.min_p = d_min_p.data();
  a.seed = d_seed.data();
  a.position = d_position.data();
  a.subsequence = d_subsequence.data();
  a.repetition_penalty = d_repetition.data();
  a.frequency_penalty = d_frequency.data();
  a.presence_penalty = d_presence.data();
  if (!history.empty()) a.history = d_history.data(), a.history_offsets = d_history_offsets.data();
  if (std::ranges::any_of(count_begin, [](std::int64_t begin) { return begin != 0; })) a.count_begin = d_count_begin.data();
  if (!bias.empty()) a.bias = d_bias.data(), a.bias_offsets = d_bias_offsets.data();
  if (!allowed.empty()) a.allowed = d_allowed.data(), a.allowed_stride = static_cast<std::int64_t>(words);
  a.token = token.data();
  a.status = status.data();
  a.argmax = argmax.data();
  a.num_kept = num_kept.data();
  a.total_weight = total.data();
  if (wants.logprob) a.logprob = logprob.data();
  if (wants.filtered_logprob) a.filtered_logprob = filtered.data();
  a.top = wants.top_logprobs;
  const auto listed = static_cast<std::size_t>(wants.top_logprobs);
  const Guarded<TokenId> top_token(count * listed, 77777777);
  const Guarded<double> top_logprob(count * listed, 5.0);
  if (listed > 0) a.top_token = top_token.data(), a.top_logprob = top_logprob.data();
  const Guarded<std::int64_t> kept_offsets(count + 1, -5);
  const Guarded<TokenId> kept(wants.kept ? count * static_cast<std::size_t>(logits.vocab_size) : 0, 77777777);
  if (wants.kept) {
    a.kept_offsets = kept_offsets.data();
    a.kept = kept.data();
    a.kept_capacity = logits.rows * logits.vocab_size;
  }
  a.parts = parts;
  // Full of rubbish: what the call needs zero, it zeroes.
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(cuda::sample_workspace_bytes(a), std::byte{0xcd}));
  a.workspace = {workspace.data(), cuda::sample_workspace_bytes(a)};
  cuda::sample(a, nullptr);
  throw_on_error(cudaDeviceSynchronize());

  std::vector<SampleResult> results(count);
  const auto tokens = token.host(), argmaxes = argmax.host();
  const auto statuses = status.host();
  const auto numbers = num_kept.host();
  const auto weights = total.host();
  const auto before = logprob.host(), after = filtered.host(), listed_logprobs = top_logprob.host();
  const auto listed_tokens = top_token.host(), kept_ids = kept.host();
  const auto offsets = kept_offsets.host();
  for (std::size_t r = 0; r < count; ++r) {
    results[r].token = tokens[r];
    results[r].status = statuses[r];
    results[r].argmax = argmaxes[r];
    results[r].num_kept = numbers[r];
    results[r].total_weight = weights[r];
    results[r].logprob = before[r];
    results[r].filtered_logprob = after[r];
    for (std::size_t i = r * listed; i < (r + 1) * listed && listed_tokens[i] != -1; ++i)
      results[r].top.push_back({listed_tokens[i], listed_logprobs[i]});
    if (wants.kept) results[r].kept = {kept_ids.begin() + offsets[r], kept_ids.begin() + offsets[r + 1]};
  }
  return results;
}

}  // namespace warploom::test
