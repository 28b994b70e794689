#include "paged.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(RopeAppend, unread);
using test::PagedCase;

// Attention shows how the keys were rotated.
TEST_P(RopeAppend, RotatesQueriesAndKeys) {
  for (const bool interleaved : {true, false}) {
    for (const std::int64_t dims : {32, 16, 2}) {
      const PagedCase c{4, 2, 32, DType::f32, {40, 3}};
      RopeParams params;
      params.dims = dims;
      params.frequency_scale = interleaved ? 1.0f : 0.25f;
      params.mscale = dims == 16 ? 1.25f : 1.0f;
      params.interleaved = interleaved;
      const test::PagedRows rows(c, rng);
      test::Paged paged(*backend, c, params, rows, 1);
      paged.step({0, 1}, 0, 40);
      const auto exact = test::rotated_exactly(c, params, rows);
      std::vector<double> want = exact.queries[0];
      want.insert(want.end(), exact.queries[1].begin(), exact.queries[1].end());
      test::expect_near_all(test::queries_of(c, paged.rotated), want, 1e-6, 2e-6);
      test::expect_attention(*backend, c, params, rng);
    }
  }
}

TEST_P(RopeAppend, ScalesByFactors) {
  const PagedCase c{4, 2, 32, DType::f32, {20}};
  RopeParams params = test::whole_heads(c);
  const test::PagedRows rows(c, rng);
  auto cache = backend->create_kv_cache({1, c.kv_heads, c.head_dim, 2, c.type});
  const std::vector<float> factors(16, 4.0f);  // four times slower everywhere: the same as positions divided by four
  test::AttentionStep step;
  std::vector<std::int32_t> positions(20);
  std::iota(positions.begin(), positions.end(), 0);
  step.add(positions, {0, 1});
  const test::PlacedStep placed(*backend, step);
  const auto rope = backend->load_rope(params, factors.data());
  test::Guarded in(*backend, rows.qkv[0]);
  backend->rope_append(test::append_args(in.data(), c.heads, rope.get(), placed.metadata, cache.get(), 0));
  params.frequency_scale = 0.25f;
  test::expect_near_all(test::queries_of(c, in.read()), test::rotated_exactly(c, params, rows).queries[0], 1e-6, 2e-6);
}

}  // namespace
}  // namespace warploom
