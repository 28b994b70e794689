// Exponentials of scores, also of those far below the largest: the same on every instruction set.
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "chunk_result.h"
#include "cpu/isa.h"

namespace warploom::cpu {
namespace {

constexpr int kHeadDim = 16, kTokens = 16;

// A chunk of one block in f32 whose token t has the score scores[t], and the value 1 in dimension t and 0 in the others.
struct Scored {
  std::vector<float> block = std::vector<float>(2 * kHeadDim * kTokens), query = std::vector<float>(kQueryStride);
  std::int32_t id = 0, position = kTokens - 1;
  AttentionTile tile;

  explicit Scored(const std::vector<float>& scores) {
    for (std::size_t t = 0; t < kTokens; ++t) {
      block[t] = scores[t];
      block[kHeadDim * kTokens + t * kHeadDim + t] = 1.0f;
    }
    query[0] = 1.0f;
    tile.queries = query.data();
    tile.positions = &position;
    tile.count = 1;
    tile.head_dim = kHeadDim;
    tile.type = DType::f32;
    tile.kv = {reinterpret_cast<const std::byte*>(block.data()), block.size() * sizeof(float), &id, 1, 0};
  }
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Softmax, OfScoresThatAreFarApart) {
  const float below_87 = std::nextafterf(-87.0f, -kInfinity), above_87 = std::nextafterf(-87.0f, 0.0f);
  const std::vector<float> scores = {0.0f,   -1e-8f,   -0.25f, -1.0f,   -17.5f, -50.0f, -86.0f, above_87,
                                     -87.0f, below_87, -88.0f, -104.0f, -1e4f,  -1e30f, -3e38f, -kInfinity};
  for (const CpuIsa isa : available_cpu_isas()) {
    const Scored scored(scores);
    const test::ChunkResult generic(kernels_for(CpuIsa::generic), scored.tile), got(kernels_for(isa), scored.tile);
    EXPECT_EQ(got.maxima[0], 0.0f) << name(isa);
    EXPECT_EQ(got.sums[0], generic.sums[0]) << name(isa);
    for (std::size_t t = 0; t < kTokens; ++t) {
      const double want = scores[t] < -87.0f ? 0.0 : std::exp(static_cast<double>(scores[t]));
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got.values[0][t]), std::bit_cast<std::uint32_t>(generic.values[0][t]))
          << name(isa) << ", score " << scores[t];
      EXPECT_NEAR(got.values[0][t], want, 2e-7 * want) << name(isa) << ", score " << scores[t];
    }
  }
}

TEST(Softmax, NanComesThrough) {
  std::vector<float> scores(kTokens, -1.0f);
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    scores[3] = odd;
    const Scored scored(scores);
    for (const CpuIsa isa : available_cpu_isas()) {
      const test::ChunkResult got(kernels_for(isa), scored.tile);
      EXPECT_TRUE(std::isnan(got.sums[0])) << name(isa) << ", " << odd;
      EXPECT_TRUE(std::isnan(got.values[0][3])) << name(isa) << ", " << odd;
    }
  }
}

}  // namespace
}  // namespace warploom::cpu
