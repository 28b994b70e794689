#include "fixture.h"
#include "weights.h"

#include "checkpoint/quants.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Embed);

// On CUDA, weights of other types than those with 4 and 8 bits are rounded to 16 bits.
TEST_P(Embed, GivesTheFilesRows) {
  const bool cuda = GetParam().kind == DeviceKind::cuda;
  for (const WeightType type : test::kAllWeightTypes) {
    const std::int64_t cols = 512, rows = 37;
    const test::RandomWeight weight(rng, type, rows, cols);
    const auto table = backend->load_weight({&weight.view, 1});
    const std::vector<TokenId> ids = {0, 36, 16, 15, 1, 16, 31};
    const auto device_ids = test::upload(*backend, ids);
    test::Guarded out(*backend, ids.size() * static_cast<std::size_t>(cols));
    backend->embed(
        {table.get(), static_cast<const TokenId*>(device_ids->data()), static_cast<std::int64_t>(ids.size()), out.data()});
    std::vector<float> want(ids.size() * static_cast<std::size_t>(cols));
    for (std::size_t i = 0; i < ids.size(); ++i)
      dequantize_row(weight.view, ids[i],
                     std::span(want).subspan(i * static_cast<std::size_t>(cols), static_cast<std::size_t>(cols)));
    const std::vector<float> got = out.read();
    // The scale and the minimum of a group are rounded; what each contributes is below twice the largest weight.
    float largest = 0;
    for (const float w : want) largest = std::isfinite(w) ? std::max(largest, std::abs(w)) : largest;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(want[i])) {
        ASSERT_TRUE(std::isnan(got[i]));
      } else {
        ASSERT_NEAR(got[i], want[i], cuda ? 2 * test::rounding(backend->activation_type()) * largest + 0x1p-25 : 0.0)
            << traits(type).name << " at " << i;
      }
    }
  }
}

}  // namespace
}  // namespace warploom
