// Requests over time, drawn from distributions and a seed: what a serving benchmark sends, and when.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "warploom/types.h"

namespace warploom::bench {

/// A number of tokens at random, at least 1.
struct LengthDistribution {
  enum class Kind : std::uint8_t { constant, uniform, lognormal };
  Kind kind = Kind::constant;
  double first = 1;   // constant: the number; uniform: the minimum; lognormal: the mean
  double second = 0;  // uniform: the maximum; lognormal: the standard deviation of the logarithm
};

/// "512", "uniform:100:900" or "lognormal:512:0.8". Throws InvalidArgument, which begins with the option's name.
LengthDistribution parse_lengths(const std::string& option, const std::string& text);

/// Tokens of a prompt. Parts of the same content begin with the same tokens, in whichever prompts they are.
struct PromptPart {
  std::uint64_t content = 0;
  std::int64_t tokens = 0;
};

struct Arrival {
  double seconds = 0;  // after the first
  std::vector<PromptPart> prompt;
  std::int64_t output_tokens = 0;       // >= 1
  std::vector<TokenId> token_ids = {};  // the prompt itself if it was recorded; `prompt` is empty then

  std::int64_t prompt_tokens() const;
};

struct WorkloadOptions {
  std::int64_t requests = 100;  // >= 1
  bool poisson = true;          // else at equal distances
  LengthDistribution prompt{LengthDistribution::Kind::constant, 256, 0};
  LengthDistribution output{LengthDistribution::Kind::constant, 64, 0};
  std::int64_t prefix_tokens = 0;  // put before the prompts of a share of the requests, the same for all of them
  double prefix_share = 1;         // in [0, 1]
  std::uint64_t seed = 1;
};

/// One request a second on average.
std::vector<Arrival> make_workload(const WorkloadOptions& options);

/// Requests a second from the first arrival to the last; infinite if all arrive at once.
double mean_rate(std::span<const Arrival> arrivals);

/// Makes everything happen `factor` times as fast; infinite: at once.
void speed_up(std::vector<Arrival>& arrivals, double factor);

/// The ids of a prompt: those recorded, else drawn from `tokens`.
std::vector<TokenId> prompt_ids(const Arrival& arrival, std::span<const TokenId> tokens, std::uint64_t seed);

}  // namespace warploom::bench
