#include "paged.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Attention);
using test::Paged;
using test::PagedCase;

void expect_oracle(Backend& backend, const PagedCase& c, std::mt19937& rng, std::int64_t window) {
  const auto qkv = test::random_qkv(rng, c);
  Paged paged(backend, c, qkv, rng());
  std::vector<std::size_t> all(c.lengths.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const std::vector<float> got = paged.step(all, 0, 1 << 20, window);
  std::vector<double> want;
  for (const std::size_t s : all) {
    for (std::int64_t p = 0; p < c.lengths[s]; ++p) {
      const auto row = test::attend(c, qkv[s], p, window);
      want.insert(want.end(), row.begin(), row.end());
    }
  }
  // f16 keys may round differently where the oracle's rotation differs in its last bit.
  const double keys = c.type == DType::f32 ? 5e-6 : c.type == DType::f16 ? 2e-3 : 2e-2;
  // Where products take 16-bit inputs, queries and probabilities are rounded to the cache's type, and the result to its own.
  const bool rounds = backend.activation_type() != DType::f32;
  const double tolerance =
      keys + (rounds ? 4 * std::max(test::rounding(c.type), test::rounding(backend.activation_type())) : 0);
  test::expect_near_all(got, want, tolerance, tolerance);
}

TEST_P(Attention, EqualsTheOracle) {
  for (const DType type : {DType::f32, DType::f16}) {
    for (const auto& [heads, kv_heads, head_dim] :
         {std::array<std::int64_t, 3>{4, 2, 32}, {9, 3, 64}, {3, 3, 16}, {5, 1, 80}, {2, 1, 256}, {20, 1, 16}}) {
      PagedCase c{heads, kv_heads, head_dim, type, {}, {1, 17, 33}};
      c.rope.dims = head_dim;
      expect_oracle(*backend, c, rng, 0);
    }
  }
}

TEST_P(Attention, SoftCapsAndBlockSizes) {
  const bool cuda = GetParam().kind == DeviceKind::cuda;
  for (const std::int64_t block_size : {8, 16, 32}) {
    if (!cuda && block_size != 16) continue;  // which the CPU refuses: see KvCache
    for (const DType type : {DType::f16, DType::f32, DType::bf16}) {
      if (!cuda && type == DType::bf16) continue;
      PagedCase c{4, 2, 32, type, {}, {1, 17, 150}, 0.5f, block_size};
      c.rope.dims = 32;
      expect_oracle(*backend, c, rng, 0);
    }
  }
}

TEST_P(Attention, PaddingTokensStoreNothingAndGetZeros) {
  PagedCase c{4, 2, 32, DType::f16, {}, {1}};
  c.rope.dims = 32;
  const auto qkv = test::random_qkv(rng, c);
  auto cache = backend->create_kv_cache({1, 2, 32, 2, c.type});
  const auto rope = backend->load_rope(c.rope, nullptr);
  std::vector<float> rows = qkv[0];
  const std::vector<float> noise = test::random_floats(rng, rows.size());
  rows.insert(rows.end(), noise.begin(), noise.end());
  test::Guarded in(*backend, rows);
  test::Activations out(*backend, 2 * 4 * 32);
  const test::PlacedStep step(*backend, {0, -1}, {0, 1}, {0, 1}, {0, 0}, 1);
  backend->rope_append(test::append_args(in.data(), c.heads, *rope, step.metadata, *cache, 0));
  PagedAttentionArgs args = test::attention_args(*backend, in.data(), c.heads, step.metadata, *cache, 0, out.data());
  args.softmax_scale = 0.25f;
  test::attend_with_workspace(*backend, args);
  const std::vector<float> got = out.read();
  for (std::size_t i = 0; i < 128; ++i) {
    // Of one key, the value itself.
    const auto value =
        static_cast<std::size_t>((4 + 2 + static_cast<std::int64_t>(i) / 64) * 32 + static_cast<std::int64_t>(i) % 32);
    EXPECT_NEAR(got[i], qkv[0][value], 2 * 0x1p-8 * std::abs(qkv[0][value]) + 1e-6);
    EXPECT_EQ(got[128 + i], 0.0f);
  }
}

TEST_P(Attention, LongContextsSpanSeveralChunks) {
  PagedCase c{3, 1, 16, DType::f32, {}, {300, 129}};
  c.rope.dims = 16;
  expect_oracle(*backend, c, rng, 0);
}

TEST_P(Attention, SlidingWindow) {
  PagedCase c{3, 1, 16, DType::f32, {}, {300, 5}};
  c.rope.dims = 16;
  for (const std::int64_t window : {1, 7, 128, 140, 1000}) expect_oracle(*backend, c, rng, window);
}

// Prefill at once, in chunks, token by token, alone, in a crowd, with other block tables: always the same bits.
TEST_P(Attention, ChunksCrowdsAndBlockTablesChangeNothing) {
  for (const std::int64_t window : {std::int64_t{0}, std::int64_t{100}}) {
    PagedCase c{9, 3, 64, DType::f16, {}, {290, 31, 150, 16}};
    c.rope.dims = 64;
    const auto qkv = test::random_qkv(rng, c);
    std::vector<std::vector<float>> alone;
    for (std::size_t s = 0; s < c.lengths.size(); ++s) {
      Paged paged(*backend, c, qkv, 7);
      alone.push_back(paged.step({s}, 0, 1 << 20, window));
    }
    for (const std::int64_t chunk : {1, 7, 64}) {
      Paged paged(*backend, c, qkv, static_cast<std::uint32_t>(100 + chunk));
      std::vector<std::vector<float>> got(c.lengths.size());
      const std::int64_t width = c.heads * c.head_dim;
      for (std::int64_t from = 0; from < 290; from += chunk) {
        const std::vector<float> out = paged.step({0, 1, 2, 3}, from, from + chunk, window);
        std::int64_t at = 0;
        for (std::size_t s = 0; s < c.lengths.size(); ++s) {
          const std::int64_t tokens = std::clamp<std::int64_t>(c.lengths[s] - from, 0, chunk);
          got[s].insert(got[s].end(), out.begin() + at * width, out.begin() + (at + tokens) * width);
          at += tokens;
        }
      }
      for (std::size_t s = 0; s < got.size(); ++s)
        EXPECT_TRUE(test::same_bits(got[s], alone[s])) << "sequence " << s << " chunk " << chunk;
    }
  }
}

TEST_P(Attention, NanInOneSequenceStaysThere) {
  PagedCase c{2, 1, 16, DType::f16, {}, {20, 20}};
  c.rope.dims = 16;
  auto qkv = test::random_qkv(rng, c);
  Paged clean(*backend, c, qkv, 3);
  const std::vector<float> want = clean.step({1}, 0, 20);
  std::fill(qkv[0].begin(), qkv[0].end(), std::nanf(""));
  Paged paged(*backend, c, qkv, 3);
  const std::vector<float> got = paged.step({0, 1}, 0, 20);
  const std::vector<float> second(got.end() - static_cast<std::ptrdiff_t>(want.size()), got.end());
  EXPECT_TRUE(test::same_bits(second, want));
  EXPECT_TRUE(std::isnan(got[0]));
}

TEST_P(Attention, CopiedBlocksHoldTheSameKeysAndValues) {
  PagedCase c{2, 1, 16, DType::f16, {}, {16, 16}};
  c.rope.dims = 16;
  const auto qkv = test::random_qkv(rng, c);
  const auto run = [&](std::int32_t block) {
    auto cache = backend->create_kv_cache({1, 1, 16, 3, c.type});
    std::vector<std::int32_t> positions(16);
    std::iota(positions.begin(), positions.end(), 0);
    const std::vector<std::int32_t> rows(16, 0);
    const test::PlacedStep written(*backend, positions, rows, {0}, {0}, 1), read(*backend, positions, rows, {0}, {block}, 1);
    test::Guarded in(*backend, qkv[0]);
    test::Activations out(*backend, 16 * 2 * 16);
    const auto rope = backend->load_rope(c.rope, nullptr);
    backend->rope_append(test::append_args(in.data(), c.heads, *rope, written.metadata, *cache, 0));
    if (block != 0) backend->copy_block({cache->view(), 0, block});
    PagedAttentionArgs args = test::attention_args(*backend, in.data(), c.heads, read.metadata, *cache, 0, out.data());
    args.softmax_scale = 0.25f;
    test::attend_with_workspace(*backend, args);
    return out.read();
  };
  EXPECT_TRUE(test::same_bits(run(0), run(2)));
}

}  // namespace
}  // namespace warploom
