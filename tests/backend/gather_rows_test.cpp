#include "fixture.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(GatherRows, unread);
using test::Guarded;

// In the order given, also twice; the input stays as it was.
TEST_P(GatherRows, CopiesTheRowsAsked) {
  struct Case {
    std::size_t stride, width;
  };
  for (const auto& [stride, width] : {Case{960, 576}, {40, 40}, {41, 40}, {7, 3}, {2000, 1999}, {1, 1}}) {
    const std::vector<float> x = test::random_floats(rng, 70 * stride);
    Guarded in(*backend, x);
    std::vector<std::int32_t> all(70);
    std::iota(all.begin(), all.end(), 0);
    for (const std::vector<std::int32_t>& picked : {std::vector<std::int32_t>{4, 1, 4}, {69}, {0, 5, 3, 2, 1, 68}, all}) {
      Guarded out(*backend, picked.size() * width);
      const auto rows = test::upload(*backend, picked);
      backend->gather_rows({in.data(), static_cast<std::int64_t>(stride), static_cast<const std::int32_t*>(rows->data()),
                            static_cast<std::int64_t>(picked.size()), static_cast<std::int64_t>(width), out.data()});
      std::vector<float> want;
      for (const std::int32_t row : picked) {
        const auto first = x.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * stride);
        want.insert(want.end(), first, first + static_cast<std::ptrdiff_t>(width));
      }
      EXPECT_EQ(out.read(), want) << "rows of " << stride << ", of which " << width;
    }
    EXPECT_EQ(in.read(), x);
  }
}

}  // namespace
}  // namespace warploom
