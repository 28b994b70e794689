#include "workload.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "random.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr double kMaxTokens = 1 << 20;

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> fields;
  for (std::size_t end; (end = text.find(at)) != std::string_view::npos; text.remove_prefix(end + 1))
    fields.push_back(text.substr(0, end));
  fields.push_back(text);
  return fields;
}

class Lengths {
 public:
  explicit Lengths(const LengthDistribution& distribution) : d_(distribution) {}

  std::int64_t draw(Random& random) const {
    double length = d_.first;
    if (d_.kind == LengthDistribution::Kind::uniform)
      length = std::floor(d_.first + random.unit() * (d_.second - d_.first + 1));
    // The mean of a lognormal variable is exp(mu + sigma^2 / 2).
    if (d_.kind == LengthDistribution::Kind::lognormal)
      length = std::round(d_.first * std::exp(d_.second * random.normal() - d_.second * d_.second / 2));
    return static_cast<std::int64_t>(std::clamp(length, 1.0, kMaxTokens));
  }

 private:
  const LengthDistribution& d_;
};

}  // namespace

LengthDistribution parse_lengths(const std::string& option, const std::string& text) {
  const std::vector<std::string_view> fields = split(text, ':');
  const auto number = [&](std::size_t field, double low, double high, bool whole) {
    const std::string_view digits = field < fields.size() ? fields[field] : std::string_view();
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || !(value >= low && value <= high) ||
        (whole && value != std::floor(value)))
      throw InvalidArgument(fmt::format("{}: \"{}\" in \"{}\" is not a {}number in [{:g}, {:.0f}]", option, digits, text,
                                        whole ? "whole " : "", low, high));
    return value;
  };
  using enum LengthDistribution::Kind;
  if (fields.size() == 1) return {constant, number(0, 1, kMaxTokens, true), 0};
  if (fields.size() == 3 && fields[0] == "uniform") {
    const double low = number(1, 1, kMaxTokens, true);
    return {uniform, low, number(2, low, kMaxTokens, true)};
  }
  if (fields.size() == 3 && fields[0] == "lognormal")
    return {lognormal, number(1, 1, kMaxTokens, false), number(2, 0, 5, false)};
  throw InvalidArgument(
      fmt::format("{}: \"{}\" is neither a number, nor uniform:MINIMUM:MAXIMUM, nor lognormal:MEAN:SIGMA", option, text));
}

std::int64_t Arrival::prompt_tokens() const {
  auto sum = static_cast<std::int64_t>(token_ids.size());
  for (const PromptPart& part : prompt) sum += part.tokens;
  return sum;
}

std::vector<Arrival> make_workload(const WorkloadOptions& options) {
  // Streams of their own, so that a change of one distribution leaves the others' draws alone.
  Random gaps(options.seed, 1), prompts(options.seed, 2), outputs(options.seed, 3), prefixes(options.seed, 4);
  const Lengths prompt(options.prompt), output(options.output);
  constexpr std::uint64_t kPrefix = 0;
  std::vector<Arrival> arrivals;
  double now = 0;
  for (std::int64_t i = 0; i < options.requests; ++i) {
    Arrival arrival;
    arrival.seconds = now;
    if (prefixes.unit() < options.prefix_share && options.prefix_tokens > 0)
      arrival.prompt.push_back({kPrefix, options.prefix_tokens});
    arrival.prompt.push_back({1 + static_cast<std::uint64_t>(i), prompt.draw(prompts)});
    arrival.output_tokens = output.draw(outputs);
    arrivals.push_back(std::move(arrival));
    now += options.poisson ? -std::log(1 - gaps.unit()) : 1;
  }
  return arrivals;
}

double mean_rate(std::span<const Arrival> arrivals) {
  const double seconds = arrivals.empty() ? 0 : arrivals.back().seconds - arrivals.front().seconds;
  return seconds > 0 ? static_cast<double>(arrivals.size() - 1) / seconds : std::numeric_limits<double>::infinity();
}

void speed_up(std::vector<Arrival>& arrivals, double factor) {
  for (Arrival& arrival : arrivals) arrival.seconds /= factor;
}

std::vector<TokenId> prompt_ids(const Arrival& arrival, std::span<const TokenId> tokens, std::uint64_t seed) {
  std::vector<TokenId> ids = arrival.token_ids;
  ids.reserve(static_cast<std::size_t>(arrival.prompt_tokens()));
  for (const PromptPart& part : arrival.prompt) {
    Random random(seed, 5 + part.content);
    for (std::int64_t i = 0; i < part.tokens; ++i) ids.push_back(tokens[random() % tokens.size()]);
  }
  return ids;
}

}  // namespace warploom::bench
