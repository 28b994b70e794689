#include <algorithm>

#include <fmt/format.h>

#include "tools/sampler_check/devices.h"
#include "warploom/device.h"

namespace warploom::sampler_check {

Device cpu_device(int threads) {
  const auto sampler = [threads](std::span<const float> logits, std::span<const SamplingInput> rows,
                                 std::span<TokenId> tokens) {
    // sample() reads each row from a place of its own: copies, as many as stay near the cache.
    const std::size_t most = std::clamp<std::size_t>((std::size_t{1} << 22) / logits.size(), 1, 4096);
    const std::size_t batch = std::min(most, rows.size());
    std::vector<float> copies;
    copies.reserve(batch * logits.size());
    for (std::size_t r = 0; r < batch; ++r) copies.insert(copies.end(), logits.begin(), logits.end());
    const auto vocab_size = static_cast<std::int64_t>(logits.size());
    for (std::size_t first = 0; first < rows.size(); first += batch) {
      const auto part = rows.subspan(first, std::min(batch, rows.size() - first));
      const LogitsView view{copies.data(), DType::f32, static_cast<std::int64_t>(part.size()), vocab_size, vocab_size};
      const std::vector<SampleResult> results = sample(view, part, {}, threads);
      for (std::size_t r = 0; r < results.size(); ++r) tokens[first + r] = results[r].token;
    }
  };
  return {fmt::format("cpu: {}, {} threads", name(available_cpu_isas().back()), threads), sampler};
}

}  // namespace warploom::sampler_check
