// The op reads the parameters of each row from arrays; what is drawn is the oracle's affair.
#include "fixture.h"
#include "sampling/oracle.h"
#include "sampling/random_rows.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Sample, unread);

// Rows with everything that an array holds for each row.
struct Rows {
  std::vector<float> logits, temperature, top_p, min_p, repetition, frequency, presence;
  std::vector<std::int32_t> top_k;
  std::vector<std::uint64_t> seed, position;
  std::vector<std::uint32_t> subsequence;
  std::vector<TokenId> history;
  std::vector<LogitBias> bias;
  std::vector<std::int64_t> history_offsets{0}, bias_offsets{0}, count_begin;
  std::vector<std::vector<float>> logits_of;
  std::vector<SamplingInput> inputs;  // without histories and biases, whose arrays grow

  Rows(std::mt19937_64& rng, std::size_t count, std::size_t vocab_size, bool penalties, bool biases) {
    const auto token = [&] { return static_cast<TokenId>(rng() % vocab_size); };
    for (std::size_t r = 0; r < count; ++r) {
      logits_of.push_back(test::random_logits(rng, vocab_size));
      logits.insert(logits.end(), logits_of[r].begin(), logits_of[r].end());
      SamplingInput& input = inputs.emplace_back();
      SamplingParams& p = input.params = test::random_params(rng, vocab_size);
      if (!penalties) p.repetition_penalty = 1.0f, p.frequency_penalty = p.presence_penalty = 0.0f;
      input.position = test::pick<std::uint64_t>(rng, {0, 1, 8589934597ull});
      input.subsequence = test::pick<std::uint32_t>(rng, {0, 7});
      temperature.push_back(p.temperature);
      top_k.push_back(static_cast<std::int32_t>(p.top_k));
      top_p.push_back(p.top_p);
      min_p.push_back(p.min_p);
      repetition.push_back(p.repetition_penalty);
      frequency.push_back(p.frequency_penalty);
      presence.push_back(p.presence_penalty);
      seed.push_back(p.seed);
      position.push_back(input.position);
      subsequence.push_back(input.subsequence);
      const std::uint64_t length = penalties ? rng() % 6 : 0;
      for (std::uint64_t i = length; i > 0; --i) history.push_back(token());
      input.count_begin = static_cast<std::int64_t>(rng() % (length + 1));
      count_begin.push_back(input.count_begin);
      for (std::uint64_t i = biases ? rng() % 3 : 0; i > 0; --i)
        bias.push_back({token(), test::pick(rng, {-INFINITY, 3.0f, -100.0f})});
      history_offsets.push_back(static_cast<std::int64_t>(history.size()));
      bias_offsets.push_back(static_cast<std::int64_t>(bias.size()));
    }
    for (std::size_t r = 0; r < count; ++r) {
      inputs[r].history = {history.data() + history_offsets[r], history.data() + history_offsets[r + 1]};
      inputs[r].bias = {bias.data() + bias_offsets[r], bias.data() + bias_offsets[r + 1]};
    }
  }
};

// At temperature 1, before the filters; `y` is after penalties and bias.
double exact_logprob(const std::vector<float>& y, TokenId token) {
  const double max = *std::max_element(y.begin(), y.end());
  double sum = 0;
  for (const float x : y) sum += std::exp(static_cast<double>(x) - max);
  return static_cast<double>(y[static_cast<std::size_t>(token)]) - max - std::log(sum);
}

TEST_P(Sample, DrawsWhatTheOracleDraws) {
  std::mt19937_64 random(kSeed);
  for (const std::size_t vocab_size : {1, 2, 37, 1031}) {
    for (const std::size_t count : {1, 2, 33}) {
      for (int round = 0; round < 8; ++round) {
        const bool penalties = round % 2 != 0, biases = round / 2 % 2 != 0, logprobs = round / 4 % 2 != 0;
        const Rows rows(random, count, vocab_size, penalties, biases);
        std::vector<std::unique_ptr<Buffer>> memory;
        const auto place = [&](const auto& host) {
          memory.push_back(test::upload(*backend, host));
          return static_cast<decltype(host.data())>(memory.back()->data());
        };
        const auto device = test::memory_of(*backend);
        const test::GuardedArray<TokenId> token(device, count);
        const test::GuardedArray<SampleStatus> status(device, count);
        const test::GuardedArray<double> logprob(device, count);
        SampleArgs args;
        args.logits = place(rows.logits);
        args.rows = static_cast<std::int64_t>(count);
        args.vocab_size = args.row_stride = static_cast<std::int64_t>(vocab_size);
        args.temperature = place(rows.temperature);
        args.top_k = place(rows.top_k);
        args.top_p = place(rows.top_p);
        args.min_p = place(rows.min_p);
        args.seed = place(rows.seed);
        args.position = place(rows.position);
        args.subsequence = place(rows.subsequence);
        if (penalties) {
          args.repetition_penalty = place(rows.repetition);
          args.frequency_penalty = place(rows.frequency);
          args.presence_penalty = place(rows.presence);
          args.history = place(rows.history);
          args.history_offsets = place(rows.history_offsets);
          args.count_begin = place(rows.count_begin);
        }
        if (biases) {
          args.bias = place(rows.bias);
          args.bias_offsets = place(rows.bias_offsets);
        }
        args.token = token.data();
        args.status = status.data();
        args.logprob = logprobs ? logprob.data() : nullptr;
        const std::size_t bytes = backend->workspace_bytes(args);
        const auto workspace = backend->alloc(bytes);
        args.workspace = {workspace->data(), workspace->bytes()};
        backend->sample(args);
        const auto tokens = token.read();
        const auto statuses = status.read();
        const auto logprob_of = logprob.read();
        for (std::size_t r = 0; r < count; ++r) {
          SCOPED_TRACE(testing::Message() << "vocabulary " << vocab_size << ", row " << r << " of " << count << ", round "
                                          << round);
          const test::OracleResult want = test::oracle(rows.logits_of[r], rows.inputs[r]);
          ASSERT_EQ(statuses[r], want.status);
          ASSERT_EQ(tokens[r], want.token);
          if (!logprobs || want.status != SampleStatus::ok) continue;
          ASSERT_NEAR(logprob_of[r], exact_logprob(want.logits, want.token), 1e-5 * (1 + std::abs(logprob_of[r])));
        }
      }
    }
  }
}

}  // namespace
}  // namespace warploom
