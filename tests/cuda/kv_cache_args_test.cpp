// What the host refuses, and copies of blocks.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "cuda/paged_cache.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using test::DeviceArray;

template <typename F>
void expect_refused(F call, const std::string& words) {
  try {
    call();
    ADD_FAILURE() << words << " was taken";
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

// Arguments that could be launched, but that their pointers lead nowhere.
void* somewhere(std::size_t offset = 0) { return reinterpret_cast<void*>(std::uintptr_t{4096} + offset); }
cuda::KvCacheView cache() { return {somewhere(), FloatType::f16, 2, 10, 2, 64, 16}; }
cuda::KvStep step() {
  const auto* ints = static_cast<const std::int32_t*>(somewhere());
  return {3, 2, 2, ints, ints, ints, ints, 4};
}
cuda::PagedAttentionArgs attention() {
  cuda::PagedAttentionArgs a;
  a.queries = a.out = {somewhere(), FloatType::f32, 256};
  a.heads = 4;
  a.step = step();
  a.cache = cache();
  return a;
}
cuda::RopeAppendArgs append() {
  cuda::RopeAppendArgs a;
  a.queries = {somewhere(), FloatType::f32, 256};
  a.keys = a.values = {somewhere(), FloatType::f32, 128};
  a.heads = 4;
  a.frequencies = static_cast<const double*>(somewhere());
  a.rope_dims = 64;
  a.step = step();
  a.cache = cache();
  return a;
}

TEST(KvCacheArgs, AttentionNamesWhatIsWrong) {
  const auto refuse = [](auto change, const char* words) {
    cuda::PagedAttentionArgs a = attention();
    change(a);
    expect_refused([&] { cuda::paged_attention(a, somewhere(), std::size_t{1} << 40, nullptr); }, words);
  };
  const auto refuse_both = [&](auto change, const char* words) {
    refuse(change, words);
    cuda::PagedAttentionArgs a = attention();
    change(a);
    expect_refused([&] { cuda::paged_attention_workspace_bytes(a); }, words);
  };
  refuse_both([](auto& a) { a.cache.head_dim = 72; }, "cache.head_dim is 72; it must be a multiple of 16 in [16, 256]");
  refuse_both([](auto& a) { a.cache.head_dim = 272; }, "cache.head_dim is 272");
  refuse_both([](auto& a) { a.cache.block_tokens = 24; }, "cache.block_tokens is 24; it must be 8, 16 or 32");
  refuse_both([](auto& a) { a.cache.type = static_cast<FloatType>(3); }, "cache.type is 3");
  refuse([](auto& a) { a.cache.data = nullptr; }, "cache.data is null");
  refuse([](auto& a) { a.cache.data = somewhere(8); }, "aligned to 16 bytes");
  refuse([](auto& a) { a.cache.blocks = 0; }, "cache.blocks is 0");
  refuse_both([](auto& a) { a.cache.kv_heads = 0; }, "cache.kv_heads is 0");
  refuse([](auto& a) { a.cache.kv_heads = 8193; }, "cache.kv_heads is 8193");
  refuse([](auto& a) { a.layer = 2; }, "layer is 2; it must be in [0, cache.layers)");
  refuse([](auto& a) { a.layer = -1; }, "layer is -1");
  refuse_both([](auto& a) { a.heads = 5; }, "heads is 5; it must be a multiple of cache.kv_heads");
  refuse([](auto& a) { a.heads = 0; }, "heads is 0");
  refuse([](auto& a) { a.scale = NAN; }, "scale is nan");
  refuse([](auto& a) { a.soft_cap = -1.0f; }, "soft_cap is -1");
  refuse_both([](auto& a) { a.window = -1; }, "window is -1");
  refuse_both([](auto& a) { a.step.tokens = -1; }, "step.tokens is -1");
  refuse([](auto& a) { a.step.tokens = std::int64_t{1} << 30; }, "step.tokens is 1073741824");
  refuse_both([](auto& a) { a.step.sequences = 0; }, "step.sequences is 0");
  refuse([](auto& a) { a.step.sequences = 65536; }, "step.sequences is 65536");
  refuse_both([](auto& a) { a.step.most_tokens = 0; }, "step.most_tokens is 0");
  refuse([](auto& a) { a.step.most_tokens = 1; }, "step.most_tokens is 1; it must be as many as");
  refuse_both([](auto& a) { a.step.table_stride = 0; }, "step.table_stride is 0");
  refuse([](auto& a) { a.step.positions = nullptr; }, "step.positions is null");
  refuse([](auto& a) { a.step.starts = nullptr; }, "step.starts is null");
  refuse([](auto& a) { a.step.block_tables = nullptr; }, "step.block_tables is null");
  refuse([](auto& a) { a.queries.data = nullptr; }, "queries.data is null");
  refuse([](auto& a) { a.queries.stride = 255; }, "queries.stride is 255; it must be at least heads * head_dim");
  refuse([](auto& a) { a.out.stride = 258; }, "out.stride is 258; it must be a multiple of 16 bytes");
  refuse([](auto& a) { a.out.data = somewhere(4); }, "out.data");
}

TEST(KvCacheArgs, AppendNamesWhatIsWrong) {
  const auto refuse = [](auto change, const char* words) {
    cuda::RopeAppendArgs a = append();
    change(a);
    expect_refused([&] { cuda::rope_append(a, nullptr); }, words);
  };
  refuse([](auto& a) { a.rope_dims = 65; }, "rope_dims is 65; it must be even, in [0, cache.head_dim]");
  refuse([](auto& a) { a.rope_dims = 66; }, "rope_dims is 66");
  refuse([](auto& a) { a.frequencies = nullptr; }, "frequencies is null");
  refuse([](auto& a) { a.attention_scale = INFINITY; }, "attention_scale is inf");
  refuse([](auto& a) { a.step.sequence = nullptr; }, "step.sequence is null");
  refuse([](auto& a) { a.keys.stride = 127; }, "keys.stride is 127");
  refuse([](auto& a) { a.values.data = nullptr; }, "values.data is null");
  refuse([](auto& a) { a.queries.type = static_cast<FloatType>(7); }, "queries.type is 7");
  refuse([](auto& a) { a.layer = 5; }, "layer is 5");
}

TEST(KvCacheArgs, AWorkspaceThatIsTooSmall) {
  cuda::PagedAttentionArgs a = attention(), shapes;
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(a), 0u);  // 64 positions: nothing to split
  a.step.table_stride = 128;
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  EXPECT_GT(bytes, cuda::kAttentionZeroBytes);
  shapes.heads = a.heads;
  shapes.cache = a.cache;
  shapes.cache.data = nullptr;
  shapes.step = {a.step.tokens, a.step.sequences, a.step.most_tokens, nullptr, nullptr, nullptr, nullptr, 128};
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(shapes), bytes);
  expect_refused([&] { cuda::paged_attention(a, somewhere(), bytes - 1, nullptr); }, "workspace_bytes is");
  expect_refused([&] { cuda::paged_attention(a, nullptr, bytes, nullptr); }, "workspace is null");
  expect_refused([&] { cuda::paged_attention(a, somewhere(8), bytes, nullptr); }, "workspace is 0x1008");
  // More of anything never needs less.
  std::size_t before = 0;
  for (const std::int64_t sequences : {1, 2, 100, 128, 129, 5000}) {
    shapes.step.tokens = shapes.step.sequences = sequences;
    shapes.step.most_tokens = 1;
    shapes.step.table_stride = 128;
    EXPECT_GE(cuda::paged_attention_workspace_bytes(shapes), before);
    before = cuda::paged_attention_workspace_bytes(shapes);
    shapes.step.table_stride = 400;
    EXPECT_GT(cuda::paged_attention_workspace_bytes(shapes), before);
  }
}

TEST(KvCacheArgs, NoTokensAreNoWork) {
  cuda::PagedAttentionArgs a;
  a.cache = cache();
  a.heads = 2;
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(a), 0u);
  cuda::paged_attention(a, nullptr, 0, nullptr);
  cuda::RopeAppendArgs r;
  r.cache = cache();
  r.heads = 2;
  cuda::rope_append(r, nullptr);
  test::throw_on_error(cudaDeviceSynchronize());
}

TEST(CopyBlock, CopiesOneBlockOfEveryLayer) {
  for (const FloatType type : {FloatType::f16, FloatType::f32}) {
    cuda::KvCacheView view{nullptr, type, 3, 5, 2, 16, 8};
    std::vector<std::byte> host(static_cast<std::size_t>(view.bytes()));
    std::mt19937 rng(3);
    for (std::byte& b : host) b = static_cast<std::byte>(rng());
    const DeviceArray<std::byte> device(host);
    view.data = device.data();
    cuda::copy_block(view, 4, 1, nullptr);
    cuda::copy_block(view, 2, 2, nullptr);
    test::throw_on_error(cudaDeviceSynchronize());
    const auto block = static_cast<std::size_t>(view.block_stride() * bytes_of(type));
    for (std::size_t layer = 0; layer < 3; ++layer)
      std::memcpy(host.data() + (layer * 5 + 1) * block, host.data() + (layer * 5 + 4) * block, block);
    EXPECT_EQ(device.host(), host);
    expect_refused([&] { cuda::copy_block(view, 5, 1, nullptr); }, "from is 5; it must be in [0, cache.blocks)");
    expect_refused([&] { cuda::copy_block(view, 0, -1, nullptr); }, "to is -1");
  }
}

// The places that the header states: [layers, blocks, 2, kv_heads, block_tokens, head_dim].
TEST(CopyBlock, ViewsStateTheLayout) {
  constexpr cuda::KvCacheView view{nullptr, FloatType::bf16, 3, 5, 2, 16, 8};
  static_assert(view.bytes() == 3 * 5 * 2 * 2 * 8 * 16 * 2);
  static_assert(view.keys(2, 3, 1) == (((2 * 5 + 3) * 2 + 0) * 2 + 1) * 8 * 16);
  static_assert(view.values(2, 3, 1) == (((2 * 5 + 3) * 2 + 1) * 2 + 1) * 8 * 16);
}

}  // namespace
}  // namespace warploom
