#include "tools/sampler_check/sampler_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "tools/sampler_check/distribution.h"

namespace warploom::sampler_check {

namespace {

// What tells draws apart.
struct Key {
  std::uint64_t seed = 0, position = 0;
  std::uint32_t subsequence = 0;
};

struct PairTest {
  const char* name;
  Key first, second;  // added to the pair's key
};
// The last four: a half of a 64-bit number that is dropped, and numbers that are added where they must be kept apart.
constexpr PairTest kPairTests[] = {{"neighbouring positions", {}, {.position = 1}},
                                   {"neighbouring subsequences", {}, {.subsequence = 1}},
                                   {"neighbouring seeds", {}, {.seed = 1}},
                                   {"positions 2^32 apart", {}, {.position = std::uint64_t{1} << 32}},
                                   {"seeds 2^32 apart", {}, {.seed = std::uint64_t{1} << 32}},
                                   {"next seed, next position", {.seed = 1}, {.position = 1}},
                                   {"next subsequence, next position", {.subsequence = 1}, {.position = 1}}};

std::uint64_t splitmix(std::uint64_t z) {
  z *= 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Draws `count` rows in pieces; key(i) says what row i is, take(first, tokens) gets the tokens from row `first` on.
template <typename KeyOf, typename Take>
void draw_all(const Sampler& sampler, std::span<const float> logits, const SamplingParams& params, std::int64_t count,
              const std::function<void(double)>& progress, const KeyOf& key_of, const Take& take) {
  // An even number that is worth a launch, and yet a moment's work on a CPU.
  const std::int64_t piece = std::clamp((std::int64_t{1} << 28) / static_cast<std::int64_t>(logits.size()),
                                        std::int64_t{256}, std::int64_t{65536}) &
                             ~1;
  std::vector<SamplingInput> rows(static_cast<std::size_t>(std::min(piece, count)));
  std::vector<TokenId> tokens(rows.size());
  for (std::int64_t first = 0; first < count; first += piece) {
    const auto n = static_cast<std::size_t>(std::min(piece, count - first));
    for (std::size_t r = 0; r < n; ++r) {
      const Key key = key_of(static_cast<std::uint64_t>(first) + r);
      rows[r] = {params, key.position, key.subsequence, {}, {}, {}};
      rows[r].params.seed = key.seed;
    }
    sampler(logits, std::span(rows).first(n), std::span(tokens).first(n));
    take(first, std::span<const TokenId>(tokens).first(n));
    progress(static_cast<double>(first + static_cast<std::int64_t>(n)) / static_cast<double>(count));
  }
}

TestResult strategy_test(const Sampler& sampler, const Strategy& strategy, std::uint64_t seed, const Plan& plan,
                         const Rigour& rigour, const std::function<void(double)>& progress) {
  const std::vector<float> logits = strategy_logits();
  const Cells cells = pooled_cells(exact_distribution(logits, strategy.params), plan.draws);
  std::vector<std::int64_t> seen(cells.probability.size(), 0);
  std::int64_t outside = 0;
  draw_all(
      sampler, logits, strategy.params, plan.draws, progress,
      [&](std::uint64_t i) {
        return Key{seed, i, 0};
      },
      [&](std::int64_t, std::span<const TokenId> tokens) {
        for (const TokenId token : tokens) {
          const bool known = token >= 0 && static_cast<std::size_t>(token) < logits.size();
          const std::int32_t cell = known ? cells.of_token[static_cast<std::size_t>(token)] : Cells::kFilteredOut;
          if (cell == Cells::kFilteredOut)
            ++outside;
          else
            ++seen[static_cast<std::size_t>(cell)];
        }
      });
  return test_fit(strategy.name, seen, outside, cells.probability, rigour);
}

// Pairs of draws from `side` equal tokens fall into side^2 equal cells. All pairs are of different keys, and a pair's rows
// lie beside each other in the batch.
TestResult pair_test(const Sampler& sampler, const PairTest& test, std::uint64_t seed, const Plan& plan,
                     const Rigour& rigour, const std::function<void(double)>& progress) {
  std::int64_t side = 32;
  while (side > 2 && plan.pairs < 10 * side * side) side /= 2;
  const std::vector<float> flat(static_cast<std::size_t>(side), 0.0f);
  std::vector<std::int64_t> seen(static_cast<std::size_t>(side * side), 0);
  std::int64_t outside = 0;
  const auto key_of = [&](std::uint64_t i) {
    const std::uint64_t pair = i / 2;
    const Key& add = i % 2 ? test.second : test.first;
    return Key{seed + 2 * (pair % 512) + add.seed, 2 * (pair / 2048) + add.position,
               static_cast<std::uint32_t>(2 * (pair / 512 % 4)) + add.subsequence};
  };
  draw_all(sampler, flat, {}, 2 * plan.pairs, progress, key_of, [&](std::int64_t, std::span<const TokenId> tokens) {
    for (std::size_t i = 0; i + 1 < tokens.size(); i += 2) {
      const TokenId a = tokens[i], b = tokens[i + 1];
      if (a < 0 || a >= side || b < 0 || b >= side)
        ++outside;
      else
        ++seen[static_cast<std::size_t>(a * side + b)];
    }
  });
  const std::vector<double> probability(seen.size(), 1.0 / static_cast<double>(seen.size()));
  return test_fit(test.name, seen, outside, probability, rigour);
}

// One token above a crowd whose weights are near the resolution of 32-bit floats beside its own.
TestResult tail_test(const Sampler& sampler, std::uint64_t seed, const Plan& plan, const Rigour& rigour,
                     const std::function<void(double)>& progress) {
  std::vector<float> logits(static_cast<std::size_t>(plan.tail_vocab), 0.0f);
  const auto top = static_cast<TokenId>(plan.tail_vocab / 2);
  logits[static_cast<std::size_t>(top)] = plan.tail_gap;
  const Distribution d = exact_distribution(logits, {});
  // The top token's own share would round away what is looked for.
  const double lost_share =
      static_cast<double>(d.total - d.weight[static_cast<std::size_t>(top)]) / static_cast<double>(d.total);
  std::int64_t lost = 0, outside = 0;
  draw_all(
      sampler, logits, {}, plan.tail_draws, progress,
      [&](std::uint64_t i) {
        return Key{seed, i, 0};
      },
      [&](std::int64_t, std::span<const TokenId> tokens) {
        for (const TokenId token : tokens) {
          if (token < 0 || token >= plan.tail_vocab)
            ++outside;
          else
            lost += token != top;
        }
      });
  TestResult result =
      test_count(fmt::format("tail {} nats below", plan.tail_gap), lost, plan.tail_draws, lost_share, rigour);
  if (outside > 0) {
    result.ok = false;
    result.detail = fmt::format("{} draws of tokens that do not exist", outside);
  }
  return result;
}

}  // namespace

std::vector<float> strategy_logits() {
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    double sum = -6.0;  // twelve uniform numbers less six: near enough to normal, and exact on every machine
    for (std::size_t j = 0; j < 12; ++j) sum += static_cast<double>(splitmix(12 * i + j + 1) >> 40) * 0x1p-24;
    logits[i] = static_cast<float>(std::rint(4.0 * 2.5 * sum) / 4.0);
    if (i % 97 == 96) logits[i] = -std::numeric_limits<float>::infinity();
  }
  return logits;
}

std::vector<Strategy> strategies() {
  return {{"temperature 1", {}},
          {"temperature 0.7", {.temperature = 0.7f}},
          {"top-k 50", {.top_k = 50}},
          {"top-p 0.9", {.top_p = 0.9f}},
          {"min-p 0.05", {.min_p = 0.05f}},
          {"top-k 50 + top-p 0.9", {.top_k = 50, .top_p = 0.9f}}};
}

Plan plan_for(std::int64_t draws) {
  Plan plan;
  plan.draws = plan.pairs = draws;
  plan.tail_draws = draws / 10;
  return plan;
}

bool SamplerCheck::ok() const {
  return std::all_of(tests.begin(), tests.end(), [](const TestResult& test) { return test.ok; });
}

SamplerCheck check_sampler(const Sampler& sampler, const Plan& plan, const Progress& progress) {
  using Report = std::function<void(double)>;
  struct Job {
    std::string name;
    std::function<TestResult(std::uint64_t seed, const Rigour&, const Report&)> run;
  };
  std::vector<Job> jobs;
  if (plan.draws > 0)
    for (const Strategy& strategy : strategies())
      jobs.push_back(
          {strategy.name, [&sampler, &plan, strategy](std::uint64_t seed, const Rigour& rigour, const Report& report) {
             return strategy_test(sampler, strategy, seed, plan, rigour, report);
           }});
  if (plan.pairs > 0)
    for (const PairTest& test : kPairTests)
      jobs.push_back({test.name, [&](std::uint64_t seed, const Rigour& rigour, const Report& report) {
                        return pair_test(sampler, test, seed, plan, rigour, report);
                      }});
  if (plan.tail_draws > 0)
    jobs.push_back({"tail", [&](std::uint64_t seed, const Rigour& rigour, const Report& report) {
                      return tail_test(sampler, seed, plan, rigour, report);
                    }});

  SamplerCheck check{plan, plan.level / static_cast<double>(std::max<std::size_t>(jobs.size(), 1)), {}};
  std::uint64_t seed = plan.seed;
  for (const Job& job : jobs) {
    const Report report = [&](double share) {
      if (progress) progress(job.name, share);
    };
    check.tests.push_back(job.run(seed, {check.test_level, plan.power}, report));
    seed += 1'000'000;  // no test draws another's numbers
  }
  return check;
}

}  // namespace warploom::sampler_check
