// A Sampler that is kept gives what sample() gives, from rows and from arrays.
#include <thread>

#include <gtest/gtest.h>

#include "sampling/random_rows.h"
#include "warploom/error.h"
#include "warploom/sample_args.h"

namespace warploom {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Random rows as both calls take them.
struct Batch {
  std::int64_t rows, vocab_size, words;
  std::vector<float> logits;
  std::vector<SamplingInput> inputs;
  std::vector<float> temperature, top_p, min_p, repetition, frequency, presence;
  std::vector<std::int32_t> top_k;
  std::vector<std::uint64_t> seed, position;
  std::vector<std::uint32_t> subsequence, allowed;
  std::vector<TokenId> history;
  std::vector<LogitBias> bias;
  std::vector<std::int64_t> history_offsets{0}, bias_offsets{0}, count_begin;

  Batch(std::mt19937_64& rng, std::size_t count, std::size_t vocab)
      : rows(static_cast<std::int64_t>(count)),
        vocab_size(static_cast<std::int64_t>(vocab)),
        words((vocab_size + 31) / 32),
        inputs(count),
        allowed(test::random_masks(rng, count, vocab)) {
    for (std::size_t r = 0; r < count; ++r) {
      const std::vector<float> row = test::random_logits(rng, vocab);
      logits.insert(logits.end(), row.begin(), row.end());
      SamplingInput& input = inputs[r];
      input.params = test::random_params(rng, vocab);
      input.position = rng();
      input.subsequence = static_cast<std::uint32_t>(rng() % 3);
      const std::uint64_t length = rng() % 6;
      for (std::uint64_t i = length; i > 0; --i) history.push_back(static_cast<TokenId>(rng() % vocab));
      input.count_begin = static_cast<std::int64_t>(rng() % (length + 1));
      count_begin.push_back(input.count_begin);
      if (rng() % 2) bias.push_back({static_cast<TokenId>(rng() % vocab), test::pick(rng, {kMinusInfinity, 3.0f})});
      history_offsets.push_back(static_cast<std::int64_t>(history.size()));
      bias_offsets.push_back(static_cast<std::int64_t>(bias.size()));
      temperature.push_back(input.params.temperature);
      top_k.push_back(static_cast<std::int32_t>(input.params.top_k));
      top_p.push_back(input.params.top_p);
      min_p.push_back(input.params.min_p);
      repetition.push_back(input.params.repetition_penalty);
      frequency.push_back(input.params.frequency_penalty);
      presence.push_back(input.params.presence_penalty);
      seed.push_back(input.params.seed);
      position.push_back(input.position);
      subsequence.push_back(input.subsequence);
    }
    for (std::size_t r = 0; r < count; ++r) {
      inputs[r].history = {history.data() + history_offsets[r], history.data() + history_offsets[r + 1]};
      inputs[r].bias = {bias.data() + bias_offsets[r], bias.data() + bias_offsets[r + 1]};
      inputs[r].allowed = std::span(allowed).subspan(r * static_cast<std::size_t>(words), static_cast<std::size_t>(words));
    }
  }
  LogitsView view() const { return {logits.data(), DType::f32, rows, vocab_size, vocab_size}; }
  SampleArgs args() const {
    SampleArgs a;
    a.logits = logits.data();
    a.rows = rows;
    a.vocab_size = a.row_stride = vocab_size;
    a.temperature = temperature.data();
    a.top_k = top_k.data();
    a.top_p = top_p.data();
    a.min_p = min_p.data();
    a.seed = seed.data();
    a.position = position.data();
    a.subsequence = subsequence.data();
    a.repetition_penalty = repetition.data();
    a.frequency_penalty = frequency.data();
    a.presence_penalty = presence.data();
    a.history = history.data();
    a.history_offsets = history_offsets.data();
    a.count_begin = count_begin.data();
    a.bias = bias.data();
    a.bias_offsets = bias_offsets.data();
    a.allowed = allowed.data();
    a.allowed_stride = words;
    return a;
  }
};

constexpr SampleOutputs kAll{.logprob = true, .filtered_logprob = true, .top_logprobs = 5, .kept = true};

void expect_same(const SampleResult& got, const SampleResult& want) {
  EXPECT_EQ(got.status, want.status);
  EXPECT_EQ(got.token, want.token);
  EXPECT_EQ(got.argmax, want.argmax);
  EXPECT_EQ(got.num_kept, want.num_kept);
  EXPECT_EQ(got.total_weight, want.total_weight);
  EXPECT_EQ(got.logprob, want.logprob);
  EXPECT_EQ(got.filtered_logprob, want.filtered_logprob);
  EXPECT_EQ(got.kept, want.kept);
  ASSERT_EQ(got.top.size(), want.top.size());
  for (std::size_t i = 0; i < got.top.size(); ++i) {
    EXPECT_EQ(got.top[i].token, want.top[i].token);
    EXPECT_EQ(got.top[i].logprob, want.top[i].logprob);
  }
}

// Each in a thread of its own, with threads of its own, batch after batch of another size.
TEST(Sampler, SeveralAtOnceGiveWhatSampleGives) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([i] {
      std::mt19937_64 rng(static_cast<std::uint64_t>(i));
      Sampler sampler(1 + i % 3);
      for (const std::size_t vocab : {4099, 7, 1000, 33, 1, 20000}) {
        const Batch batch(rng, 9, vocab);
        const auto want = sample(batch.view(), batch.inputs, kAll);
        const auto got = sampler.sample(batch.view(), batch.inputs, kAll);
        for (std::size_t r = 0; r < want.size(); ++r) expect_same(got[r], want[r]);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(Sampler, ArraysGiveWhatRowsGive) {
  std::mt19937_64 rng(5);
  Sampler sampler(3), moved = std::move(sampler);
  for (const std::size_t vocab : {1, 31, 33, 257, 5000}) {
    const Batch batch(rng, 50, vocab);
    const auto want = moved.sample(batch.view(), batch.inputs, kAll);
    const std::size_t rows = want.size(), top = 5;
    std::size_t all_kept = 0;
    for (const SampleResult& result : want) all_kept += result.kept.size();
    const std::size_t room = all_kept / 2;  // too little: the rest is counted alone
    std::vector<TokenId> token(rows), argmax(rows), top_token(rows * top), kept(room + 1, -7);
    std::vector<SampleStatus> status(rows);
    std::vector<std::int64_t> num_kept(rows), kept_offsets(rows + 1);
    std::vector<std::uint64_t> total_weight(rows);
    std::vector<double> logprob(rows), filtered_logprob(rows), top_logprob(rows * top);
    std::vector<float> top_logit(rows * top);
    SampleArgs a = batch.args();
    a.token = token.data();
    a.status = status.data();
    a.argmax = argmax.data();
    a.num_kept = num_kept.data();
    a.total_weight = total_weight.data();
    a.logprob = logprob.data();
    a.filtered_logprob = filtered_logprob.data();
    a.top = static_cast<int>(top);
    a.top_token = top_token.data();
    a.top_logprob = top_logprob.data();
    a.top_logit = top_logit.data();
    a.kept_offsets = kept_offsets.data();
    a.kept = kept.data();
    a.kept_capacity = static_cast<std::int64_t>(room);
    moved.sample(a);
    std::vector<TokenId> ids;
    for (std::size_t r = 0; r < rows; ++r) {
      SampleResult got{status[r],           token[r], argmax[r], num_kept[r], total_weight[r], logprob[r],
                       filtered_logprob[r], {},       {}};
      for (std::size_t i = r * top; i < (r + 1) * top && top_token[i] != -1; ++i) {
        got.top.push_back({top_token[i], top_logprob[i]});
        EXPECT_LE(top_logit[i], got.top.front().token == top_token[i] ? INFINITY : top_logit[i - 1]);
      }
      for (std::size_t i = r * top + got.top.size(); i < (r + 1) * top; ++i) EXPECT_EQ(top_logit[i], kMinusInfinity);
      EXPECT_EQ(kept_offsets[r], static_cast<std::int64_t>(ids.size()));
      ids.insert(ids.end(), want[r].kept.begin(), want[r].kept.end());
      got.kept = want[r].kept;
      expect_same(got, want[r]);
    }
    EXPECT_EQ(kept_offsets[rows], static_cast<std::int64_t>(all_kept));
    EXPECT_TRUE(std::equal(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(room), kept.begin()));
    EXPECT_EQ(kept[room], -7);
  }
}

TEST(Sampler, NullArraysAreDefaultsAndRowsMayShareLogits) {
  const std::vector<float> logits = {1, 2, 3, 9, 1, 1};
  const std::vector<std::int64_t> index = {1, 0, 1};
  std::vector<TokenId> token(3);
  std::vector<SampleStatus> status(3);
  SampleArgs a;
  a.logits = logits.data();
  a.rows = 3;
  a.vocab_size = a.row_stride = 3;
  a.row_index = index.data();
  a.default_temperature = 0.0f;
  a.token = token.data();
  a.status = status.data();
  Sampler().sample(a);
  EXPECT_EQ(token, (std::vector<TokenId>{0, 2, 0}));
}

// As on a GPU: nothing else happens to such a row, and nothing to the others.
TEST(Sampler, ArraysThatNobodyCheckedGetAStatus) {
  std::mt19937_64 rng(6);
  Batch batch(rng, 6, 40);
  batch.inputs.clear();
  std::fill(batch.logits.begin(), batch.logits.end(), 1.0f);
  std::fill(batch.allowed.begin(), batch.allowed.end(), ~0u);
  batch.bias = {{40, 1.0f}};
  batch.bias_offsets = {0, 0, 1, 1, 1, 1, 1};
  batch.history = {-1};
  batch.history_offsets = {0, 0, 0, 1, 1, 1, 1};
  batch.count_begin = {0, 0, 0, 0, 0, 1};
  batch.presence.assign(6, 0.5f);
  batch.top_p[3] = NAN;
  std::vector<TokenId> token(6);
  std::vector<SampleStatus> status(6);
  SampleArgs a = batch.args();
  a.token = token.data();
  a.status = status.data();
  Sampler sampler;
  sampler.sample(a);
  const auto bad = SampleStatus::invalid_parameters, ok = SampleStatus::ok;
  EXPECT_EQ(status, (std::vector<SampleStatus>{ok, bad, bad, bad, ok, bad}));
  EXPECT_EQ(token[1], -1);
  const auto refused = [&](auto change) {
    SampleArgs changed = a;
    change(changed);
    EXPECT_THROW(sampler.sample(changed), InvalidArgument);
  };
  refused([](SampleArgs& b) { b.token = nullptr; });
  refused([](SampleArgs& b) { b.allowed_stride = 1; });
  refused([](SampleArgs& b) { b.top = 1; });
  refused([](SampleArgs& b) { b.input = SampleInput::probabilities; });
  refused([](SampleArgs& b) { b.probabilities = const_cast<float*>(static_cast<const float*>(b.logits)); });
  refused([](SampleArgs& b) { b.vocab_size = 0; });
}

TEST(Sampler, RefusesThreadsAndMasksOutOfRange) {
  EXPECT_THROW(Sampler(0), InvalidArgument);
  EXPECT_THROW(Sampler(1025), InvalidArgument);
  const std::vector<float> logits(33);
  const std::uint32_t word = 1;
  SamplingInput row;
  row.allowed = {&word, 1};
  EXPECT_THROW(static_cast<void>(sample({logits.data(), DType::f32, 1, 33, 33}, {&row, 1})), InvalidArgument);
  EXPECT_EQ(sample({logits.data(), DType::f32, 1, 32, 33}, {&row, 1}).at(0).token, 0);
}

}  // namespace
}  // namespace warploom
