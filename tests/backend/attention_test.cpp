#include "paged.h"
#include "warploom/error.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Attention, unread);
using test::AttentionStep;
using test::Paged;
using test::PagedCase;
using test::PagedRows;

/// What a cache on the device can hold.
std::vector<DType> cache_types(const DeviceOptions& device) {
  std::vector<DType> types{DType::f32, DType::f16, DType::bf16};
  if (device.kind == DeviceKind::cpu) types.push_back(DType::int8);
  return types;
}

void expect_oracle(Backend& backend, const PagedCase& c, std::mt19937& rng) {
  test::expect_attention(backend, c, test::whole_heads(c), rng);
}

TEST_P(Attention, EqualsTheOracle) {
  for (const DType type : cache_types(GetParam()))
    for (const auto& [heads, kv_heads, head_dim] :
         {std::array<std::int64_t, 3>{4, 2, 32}, {9, 3, 64}, {3, 3, 16}, {5, 1, 80}, {2, 1, 128}, {2, 1, 256}, {20, 1, 16}})
      expect_oracle(*backend, {heads, kv_heads, head_dim, type, {1, 17, 33}}, rng);
}

// Odd widths are the CPU's: results must not spill into the next head. Contexts of several chunks are split over the threads.
TEST_P(Attention, HeadsOfAnyWidth) {
  if (GetParam().kind == DeviceKind::cuda) return;
  for (const DType type : cache_types(GetParam()))
    for (const auto& [heads, kv_heads, head_dim] :
         {std::array<std::int64_t, 3>{4, 2, 100}, {9, 3, 6}, {3, 3, 24}, {5, 1, 2}, {2, 1, 250}})
      for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{1, 17, 33}, {400}})
        expect_oracle(*backend, {heads, kv_heads, head_dim, type, lengths}, rng);
}

TEST_P(Attention, SoftCapsAndBlockSizes) {
  const bool cuda = GetParam().kind == DeviceKind::cuda;
  for (const std::int64_t block_size : {8, 16, 32}) {
    if (!cuda && block_size != 16) continue;  // the CPU refuses it: see KvCache
    for (const DType type : cache_types(GetParam()))
      expect_oracle(*backend, {4, 2, 32, type, {1, 17, 150}, block_size, 0, 0.5f}, rng);
  }
}

// Padding tokens stand behind each sequence and between them; their tables lead to blocks that others hold.
TEST_P(Attention, PaddingTokensStoreNothingAndGetZeros) {
  const PagedCase c{4, 2, 32, DType::f16, {16, 16}};
  const PagedRows rows(c, rng);
  const auto rope = backend->load_rope(test::whole_heads(c), nullptr);
  std::vector<std::int32_t> positions(16);
  std::iota(positions.begin(), positions.end(), 0);
  const auto attend = [&](bool padding) {
    auto cache = backend->create_kv_cache({1, 2, 32, 2, c.type});
    std::vector<float> out_rows;
    for (const bool append : {true, false}) {
      AttentionStep step;
      std::vector<float> host;
      for (std::int32_t s = 0; s < 2; ++s) {
        const std::vector<float>& qkv = rows.qkv[static_cast<std::size_t>(s)];
        step.add(positions, {s});
        host.insert(host.end(), qkv.begin(), qkv.end());
        if (!padding) continue;
        step.add({-1}, {1 - s});
        host.insert(host.end(), static_cast<std::size_t>(rows.width), 100.0f);
      }
      test::Guarded in(*backend, host);
      test::Activations out(*backend, static_cast<std::size_t>(step.num_tokens() * 4 * 32));
      const test::PlacedStep placed(*backend, step);
      if (append) backend->rope_append(test::append_args(in.data(), c.heads, rope.get(), placed.metadata, cache.get(), 0));
      test::attend_with_workspace(*backend, test::attention_args(*backend, in.data(), c.heads, c.scale(), 0.0f, 0,
                                                                 placed.metadata, cache.get(), 0, out.data()));
      const std::vector<float> got = out.read();
      out_rows.insert(out_rows.end(), got.begin(), got.end());
    }
    return out_rows;
  };
  std::vector<float> want = attend(false);
  for (const std::ptrdiff_t tokens : {16, 33, 50, 67})  // of both steps, the end of each sequence
    want.insert(want.begin() + tokens * 4 * 32, 4 * 32, 0.0f);
  EXPECT_EQ(attend(true), want);
}

TEST_P(Attention, LongContextsSpanSeveralChunks) {
  for (const DType type : cache_types(GetParam())) {
    if (type != DType::f16) expect_oracle(*backend, {3, 1, 16, type, {300, 129}}, rng);
  }
}

TEST_P(Attention, ScalesAsTold) {
  for (const DType type : cache_types(GetParam())) {
    if (type == DType::f16 || type == DType::bf16) continue;
    PagedCase c{3, 1, 16, type, {150, 5}};
    c.softmax_scale = 0.7f;
    expect_oracle(*backend, c, rng);
  }
}

TEST_P(Attention, SlidingWindow) {
  for (const DType type : cache_types(GetParam())) {
    if (type == DType::f16) continue;
    for (const std::int64_t window : {1, 7, 128, 140, 1000})
      expect_oracle(*backend, {3, 1, 16, type, {300, 5}, 16, window}, rng);
  }
}

// Prefill at once, in chunks, token by token, alone, in a crowd, with other block tables: always the same bits.
TEST_P(Attention, ChunksCrowdsAndBlockTablesChangeNothing) {
  std::vector<std::pair<DType, std::int64_t>> cases;
  for (const DType type : cache_types(GetParam())) {
    if (type != DType::f32) cases.insert(cases.end(), {{type, 0}, {type, 100}});
  }
  for (const auto& [type, window] : cases) {
    const PagedCase c{9, 3, 64, type, {290, 31, 150, 16}, 16, window};
    const RopeParams rope = test::whole_heads(c);
    const PagedRows rows(c, rng);
    std::vector<std::vector<float>> alone;
    for (std::size_t s = 0; s < c.lengths.size(); ++s) {
      Paged paged(*backend, c, rope, rows, 7);
      alone.push_back(paged.step({s}, 0, 1 << 20));
    }
    for (const std::int64_t chunk : {1, 7, 64}) {
      Paged paged(*backend, c, rope, rows, static_cast<std::uint32_t>(100 + chunk));
      std::vector<std::vector<float>> got(c.lengths.size());
      const std::int64_t width = c.heads * c.head_dim;
      for (std::int64_t from = 0; from < 290; from += chunk) {
        const std::vector<float> out = paged.step({0, 1, 2, 3}, from, from + chunk);
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
  for (const DType type : cache_types(GetParam())) {
    const PagedCase c{2, 1, 16, type, {20, 20}};
    const RopeParams rope = test::whole_heads(c);
    PagedRows rows(c, rng);
    Paged clean(*backend, c, rope, rows, 3);
    const std::vector<float> want = clean.step({1}, 0, 20);
    std::fill(rows.qkv[0].begin(), rows.qkv[0].end(), std::nanf(""));
    Paged paged(*backend, c, rope, rows, 3);
    const std::vector<float> got = paged.step({0, 1}, 0, 20);
    const std::vector<float> second(got.end() - static_cast<std::ptrdiff_t>(want.size()), got.end());
    EXPECT_TRUE(test::same_bits(second, want));
    EXPECT_TRUE(std::isnan(got[0]));
  }
}

// The slots that a sequence has not reached yet, and those before its window, hold what another one left.
TEST_P(Attention, NanLeftInABlockReachesNoOtherSequence) {
  if (GetParam().kind == DeviceKind::cuda) return;
  for (const DType type : cache_types(GetParam()))
    for (const std::int64_t window : {std::int64_t{0}, std::int64_t{3}}) {
      const PagedCase c{3, 1, 16, type, {41}, 16, window};
      const RopeParams rope = test::whole_heads(c);
      const PagedRows rows(c, rng);
      Paged clean(*backend, c, rope, rows, 3);
      PagedRows used = rows;
      std::fill(used.qkv[0].begin(), used.qkv[0].end(), std::nanf(""));
      Paged paged(*backend, c, rope, used, 3);
      EXPECT_TRUE(std::isnan(paged.step({0}, 0, 41)[0]));
      used = rows;
      for (const auto& [from, to] : {std::pair{0, 5}, {5, 6}, {6, 16}, {16, 17}, {17, 37}, {37, 41}}) {
        SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type) << ", window " << window << ", from " << from);
        EXPECT_TRUE(test::same_bits(paged.step({0}, from, to), clean.step({0}, from, to)));
      }
    }
}

// Every layer's block is copied; blocks beside it stay as they are.
void expect_copied_blocks(Backend* backend, DType type, std::mt19937& rng) {
  constexpr std::int64_t kLayers = 3;
  const PagedCase c{2, 1, 16, type, std::vector<std::int64_t>(kLayers, 16)};
  const PagedRows rows(c, rng), others(c, rng);
  const auto rope = backend->load_rope(test::whole_heads(c), nullptr);
  auto cache = backend->create_kv_cache({kLayers, 1, 16, 5, c.type});
  std::vector<std::int32_t> positions(16);
  std::iota(positions.begin(), positions.end(), 0);
  const auto step_on = [&](std::int32_t block) {
    AttentionStep step;
    step.add(positions, {block});
    return test::PlacedStep(*backend, step);
  };
  const auto fill = [&](std::int32_t block, const std::vector<float>& qkv, std::int64_t layer) {
    test::Guarded in(*backend, qkv);
    backend->rope_append(test::append_args(in.data(), c.heads, rope.get(), step_on(block).metadata, cache.get(), layer));
    backend->synchronise();
  };
  const auto attend = [&](std::int32_t block, std::int64_t layer) {
    test::Guarded in(*backend, rows.qkv[0]);
    test::Activations out(*backend, 16 * 2 * 16);
    test::attend_with_workspace(*backend, test::attention_args(*backend, in.data(), c.heads, 0.25f, 0.0f, 0,
                                                               step_on(block).metadata, cache.get(), layer, out.data()));
    return out.read();
  };
  std::vector<std::vector<float>> want, beside;
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    fill(1, rows.qkv[static_cast<std::size_t>(layer)], layer);
    for (const std::int32_t block : {0, 2, 3, 4}) fill(block, others.qkv[static_cast<std::size_t>(layer)], layer);
    want.push_back(attend(1, layer));
    beside.push_back(attend(4, layer));
    ASSERT_FALSE(test::same_bits(want.back(), beside.back()));
  }
  backend->copy_block({cache->view(), 1, 3});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const auto l = static_cast<std::size_t>(layer);
    EXPECT_TRUE(test::same_bits(attend(3, layer), want[l])) << "layer " << layer;
    EXPECT_TRUE(test::same_bits(attend(1, layer), want[l])) << "layer " << layer;
    for (const std::int32_t block : {0, 2, 4})
      EXPECT_TRUE(test::same_bits(attend(block, layer), beside[l])) << "layer " << layer << ", block " << block;
  }
}

TEST_P(Attention, CudaRefusesACacheOfInt8) {
  if (GetParam().kind == DeviceKind::cpu) return;
  try {
    backend->create_kv_cache({1, 1, 64, 1, DType::int8});
    FAIL() << "it was made";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(), "KV cache: a type of int8 is for the CPU alone; on CUDA it is f16, bf16 or f32");
  }
}

TEST_P(Attention, CopiedBlocksHoldTheSameKeysAndValues) {
  for (const DType type : cache_types(GetParam())) expect_copied_blocks(backend.get(), type, rng);
}

}  // namespace
}  // namespace warploom
