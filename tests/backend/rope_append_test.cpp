#include "paged.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(RopeAppend);

TEST_P(RopeAppend, RotatesQueries) {
  for (const bool adjacent : {true, false}) {
    for (const std::int64_t dims : {32, 16}) {
      test::PagedCase c;
      c.lengths = {40, 3};
      c.rope.dims = dims;
      c.rope.frequency_scale = adjacent ? 1.0f : 0.25f;
      c.rope.interleaved = adjacent;
      const auto qkv = test::random_qkv(rng, c);
      test::Paged paged(*backend, c, qkv, 1);
      paged.step({0, 1}, 0, 40);
      std::vector<double> want;
      for (std::size_t s = 0; s < 2; ++s) {
        for (std::int64_t p = 0; p < c.lengths[s]; ++p) {
          const auto row = test::rotate(c, qkv[s].data() + p * paged.row(), p);
          want.insert(want.end(), row.begin(), row.end());
        }
      }
      test::expect_near_all(test::queries_of(c, paged.rotated), test::queries_of(c, want), 1e-6, 2e-6);
    }
  }
}

TEST_P(RopeAppend, ScalesByFactors) {
  test::PagedCase c;
  c.lengths = {20};
  c.rope.dims = 32;
  const auto qkv = test::random_qkv(rng, c);
  auto cache = backend->create_kv_cache({1, c.kv_heads, c.head_dim, 2, c.type});
  const std::vector<float> factors(16, 4.0f);  // four times slower everywhere: the same as positions divided by four
  std::vector<std::int32_t> positions(20);
  std::iota(positions.begin(), positions.end(), 0);
  const test::PlacedStep step(*backend, positions, std::vector<std::int32_t>(20, 0), {0}, {0, 1}, 2);
  const auto rope = backend->load_rope(c.rope, factors.data());
  test::Guarded in(*backend, qkv[0]);
  backend->rope_append(test::append_args(in.data(), c.heads, *rope, step.metadata, *cache, 0));
  c.rope.frequency_scale = 0.25f;
  std::vector<double> want;
  for (std::int64_t p = 0; p < 20; ++p) {
    const auto row = test::rotate(c, qkv[0].data() + p * 8 * c.head_dim, p);
    want.insert(want.end(), row.begin(), row.end());
  }
  test::expect_near_all(test::queries_of(c, in.read()), test::queries_of(c, want), 1e-6, 2e-6);
}

}  // namespace
}  // namespace warploom
