#include "serving_result.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace warploom::bench {

namespace {

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double per_second(std::int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

bool suffices(const ServingResult& result) { return result.good_share() >= kGoodShare; }

}  // namespace

Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {sum / static_cast<double>(values.size()), quantile(values, 0.5), quantile(values, 0.9), quantile(values, 0.99),
          values.back()};
}

double ServingResult::goodput() const { return std::isinf(rate) ? per_second(good, seconds) : good_share() * rate; }

double ServingResult::requests_per_second() const {
  std::int64_t answered = requests;
  for (const auto& [reason, count] : failures) answered -= count;
  return per_second(answered, seconds);
}

double ServingResult::output_tokens_per_second() const { return per_second(output_tokens, seconds); }

ServingResult summarise(std::span<const RequestRecord> records, double rate, const Limits& limits) {
  ServingResult result;
  result.rate = rate;
  result.requests = static_cast<std::int64_t>(records.size());
  std::vector<double> ttft, itl, end_to_end;
  for (const RequestRecord& r : records) {
    result.prompt_tokens += r.prompt_tokens;
    result.output_tokens += static_cast<std::int64_t>(r.tokens.size());
    if (!r.tokens.empty()) result.seconds = std::max(result.seconds, r.tokens.back() - records.front().arrival);
    if (!r.failure.empty()) {
      ++result.failures[r.failure];
      continue;
    }
    for (std::size_t i = 1; i < r.tokens.size(); ++i) itl.push_back(r.tokens[i] - r.tokens[i - 1]);
    ttft.push_back(r.tokens.front() - r.arrival);
    end_to_end.push_back(r.tokens.back() - r.arrival);
    const double mean_itl =
        r.tokens.size() < 2 ? 0 : (r.tokens.back() - r.tokens.front()) / static_cast<double>(r.tokens.size() - 1);
    result.good += ttft.back() <= limits.ttft && mean_itl <= limits.itl;
  }
  result.ttft = percentiles(std::move(ttft));
  result.itl = percentiles(std::move(itl));
  result.end_to_end = percentiles(std::move(end_to_end));
  return result;
}

std::optional<double> knee(std::span<const ServingResult> results) {
  std::optional<double> sustained;
  double failed = INFINITY;  // the lowest rate that is too high
  for (const ServingResult& r : results)
    if (!suffices(r)) failed = std::min(failed, r.rate);
  for (const ServingResult& r : results)
    if (suffices(r) && r.rate < failed) sustained = std::max(sustained.value_or(0), r.rate);
  return sustained;
}

std::vector<ServingResult> find_knee(double start, const std::function<ServingResult(double rate)>& run) {
  constexpr int kMaxDoublings = 16, kMaxHalvings = 8;
  constexpr double kPrecision = 1.1;
  std::vector<ServingResult> results = {run(start)};
  const bool up = suffices(results.front());
  double low = start, high = start;
  for (int i = 0; i < (up ? kMaxDoublings : kMaxHalvings); ++i) {
    (up ? low : high) = results.back().rate;
    results.push_back(run(up ? 2 * low : high / 2));
    if (suffices(results.back()) != up) break;
  }
  (up ? high : low) = results.back().rate;
  const bool bracketed = suffices(results.back()) != up;
  while (bracketed && high / low > kPrecision) {
    results.push_back(run(std::sqrt(low * high)));
    (suffices(results.back()) ? low : high) = results.back().rate;
  }
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.rate < b.rate; });
  return results;
}

}  // namespace warploom::bench
