#include "core/mix.h"
#include "warploom/sampling.h"

namespace warploom {

std::uint64_t request_seed(std::uint64_t seed, std::span<const TokenId> prompt) {
  for (const TokenId token : prompt) seed = mix(seed + (static_cast<std::uint64_t>(token) + 1) * kGoldenGamma);
  return seed;
}

}  // namespace warploom
