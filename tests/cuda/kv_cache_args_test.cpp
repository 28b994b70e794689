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
KvCacheView cache() { return {somewhere(), DType::f16, 2, 10, 2, 64, 16}; }
AttentionMetadata metadata() {
  const auto* ints = static_cast<const std::int32_t*>(somewhere());
  return {3, 2, 2, ints, ints, ints, ints, 4};
}
PagedAttentionArgs attention() {
  PagedAttentionArgs a;
  a.queries = a.out = {somewhere(), DType::f32, 256};
  a.num_heads = 4;
  a.metadata = metadata();
  a.cache = cache();
  return a;
}
RopeAppendArgs append() {
  RopeAppendArgs a;
  a.queries = {somewhere(), DType::f32, 256};
  a.keys = a.values = {somewhere(), DType::f32, 128};
  a.num_heads = 4;
  a.rope.frequencies = static_cast<const double*>(somewhere());
  a.rope.dims = 64;
  a.metadata = metadata();
  a.cache = cache();
  return a;
}

TEST(KvCacheArgs, AttentionNamesWhatIsWrong) {
  const auto refuse = [](auto change, const char* words) {
    PagedAttentionArgs a = attention();
    change(a);
    a.workspace = {somewhere(), std::size_t{1} << 40};
    expect_refused([&] { cuda::paged_attention(a, nullptr); }, words);
  };
  const auto refuse_both = [&](auto change, const char* words) {
    refuse(change, words);
    PagedAttentionArgs a = attention();
    change(a);
    expect_refused([&] { cuda::paged_attention_workspace_bytes(a); }, words);
  };
  refuse_both([](auto& a) { a.cache.head_dim = 72; }, "cache.head_dim is 72; it must be a multiple of 16 in [16, 256]");
  refuse_both([](auto& a) { a.cache.head_dim = 272; }, "cache.head_dim is 272");
  refuse_both([](auto& a) { a.cache.block_size = 24; }, "cache.block_size is 24; it must be 8, 16 or 32");
  refuse_both([](auto& a) { a.cache.layout = KvLayout::transposed_keys; }, "cache.layout is 1");
  refuse_both([](auto& a) { a.cache.type = static_cast<DType>(3); }, "cache.type is 3");
  refuse_both([](auto& a) { a.round_to_bf16 = true; }, "round_to_bf16 is true; it must be false unless cache.type is bf16");
  refuse([](auto& a) { a.cache.data = nullptr; }, "cache.data is null");
  refuse([](auto& a) { a.cache.data = somewhere(8); }, "aligned to 16 bytes");
  refuse([](auto& a) { a.cache.num_blocks = 0; }, "cache.num_blocks is 0");
  refuse_both([](auto& a) { a.cache.num_kv_heads = 0; }, "cache.num_kv_heads is 0");
  refuse([](auto& a) { a.cache.num_kv_heads = 8193; }, "cache.num_kv_heads is 8193");
  refuse_both([](auto& a) { a.cache.max_kv_heads = 1; },
              "cache.max_kv_heads is 1; it must be 0, or in [cache.num_kv_heads, 8192]");
  refuse([](auto& a) { a.layer = 2; }, "layer is 2; it must be in [0, cache.num_layers)");
  refuse([](auto& a) { a.layer = -1; }, "layer is -1");
  refuse_both([](auto& a) { a.num_heads = 5; }, "num_heads is 5; it must be a multiple of cache.num_kv_heads");
  refuse([](auto& a) { a.num_heads = 0; }, "num_heads is 0");
  refuse([](auto& a) { a.softmax_scale = NAN; }, "softmax_scale is nan");
  refuse([](auto& a) { a.soft_cap = -1.0f; }, "soft_cap is -1");
  refuse_both([](auto& a) { a.window = -1; }, "window is -1");
  refuse_both([](auto& a) { a.metadata.num_tokens = -1; }, "metadata.num_tokens is -1");
  refuse([](auto& a) { a.metadata.num_tokens = std::int64_t{1} << 30; }, "metadata.num_tokens is 1073741824");
  refuse_both([](auto& a) { a.metadata.num_seqs = 0; }, "metadata.num_seqs is 0");
  refuse([](auto& a) { a.metadata.num_seqs = 65536; }, "metadata.num_seqs is 65536");
  refuse_both([](auto& a) { a.metadata.max_query_len = 0; }, "metadata.max_query_len is 0");
  refuse([](auto& a) { a.metadata.max_query_len = 1; }, "metadata.max_query_len is 1; it must be as many as");
  refuse_both([](auto& a) { a.metadata.max_blocks_per_seq = 0; }, "metadata.max_blocks_per_seq is 0");
  // 65,535 sequences of 2^31 positions: more pieces of work than 32 bits count, for either kernel.
  const auto crowd = [](auto& a) {
    a.metadata.num_tokens = a.metadata.num_seqs = 65535;
    a.metadata.max_query_len = 1;
    a.metadata.max_blocks_per_seq = std::int64_t{1} << 27;
  };
  refuse_both(crowd, "metadata.max_blocks_per_seq is 134217728; it must be smaller for 65535 tokens of 65535 sequences");
  refuse_both(
      [](auto& a) {
        a.metadata.num_tokens = a.metadata.max_query_len = std::int64_t{1} << 27;
        a.metadata.num_seqs = 1;
        a.metadata.max_blocks_per_seq = 1 << 20;
      },
      "metadata.max_blocks_per_seq is 1048576; it must be smaller");
  refuse([](auto& a) { a.metadata.positions = nullptr; }, "metadata.positions is null");
  refuse([](auto& a) { a.metadata.qo_indptr = nullptr; }, "metadata.qo_indptr is null");
  refuse([](auto& a) { a.metadata.block_tables = nullptr; }, "metadata.block_tables is null");
  refuse([](auto& a) { a.queries.data = nullptr; }, "queries.data is null");
  refuse([](auto& a) { a.queries.stride = 255; }, "queries.stride is 255; it must be at least num_heads * head_dim");
  refuse([](auto& a) { a.out.stride = 258; }, "out.stride is 258; it must be a multiple of 16 bytes");
  refuse([](auto& a) { a.out.data = somewhere(4); }, "out.data");
}

TEST(KvCacheArgs, AppendNamesWhatIsWrong) {
  const auto refuse = [](auto change, const char* words) {
    RopeAppendArgs a = append();
    change(a);
    expect_refused([&] { cuda::rope_append(a, nullptr); }, words);
  };
  refuse([](auto& a) { a.rope.dims = 65; }, "rope.dims is 65; it must be even, in [0, cache.head_dim]");
  refuse([](auto& a) { a.rope.dims = 66; }, "rope.dims is 66");
  refuse([](auto& a) { a.rope.frequencies = nullptr; }, "rope.frequencies is null");
  refuse([](auto& a) { a.rope.mscale = INFINITY; }, "rope.mscale is inf");
  refuse([](auto& a) { a.metadata.token_to_seq = nullptr; }, "metadata.token_to_seq is null");
  refuse([](auto& a) { a.keys.stride = 127; }, "keys.stride is 127");
  refuse([](auto& a) { a.values.data = nullptr; }, "values.data is null");
  refuse([](auto& a) { a.queries.type = static_cast<DType>(7); }, "queries.type is 7");
  refuse([](auto& a) { a.layer = 5; }, "layer is 5");
}

TEST(KvCacheArgs, AWorkspaceThatIsTooSmall) {
  PagedAttentionArgs a = attention(), shapes;
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(a), 0u);  // 64 positions: nothing to split
  a.metadata.max_blocks_per_seq = 128;
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  EXPECT_GT(bytes, cuda::kAttentionZeroBytes);
  shapes.num_heads = a.num_heads;
  shapes.cache = a.cache;
  shapes.cache.data = nullptr;
  shapes.metadata = {
      a.metadata.num_tokens, a.metadata.num_seqs, a.metadata.max_query_len, nullptr, nullptr, nullptr, nullptr, 128};
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(shapes), bytes);
  const auto refuse = [&](Workspace workspace, const char* words) {
    a.workspace = workspace;
    expect_refused([&] { cuda::paged_attention(a, nullptr); }, words);
  };
  refuse({somewhere(), bytes - 1}, "workspace.bytes is");
  refuse({nullptr, bytes}, "workspace.data is null");
  refuse({somewhere(8), bytes}, "workspace.data is 0x1008");
  // More of anything never needs less.
  std::size_t before = 0;
  for (const std::int64_t sequences : {1, 2, 100, 128, 129, 5000}) {
    shapes.metadata.num_tokens = shapes.metadata.num_seqs = sequences;
    shapes.metadata.max_query_len = 1;
    shapes.metadata.max_blocks_per_seq = 128;
    EXPECT_GE(cuda::paged_attention_workspace_bytes(shapes), before);
    before = cuda::paged_attention_workspace_bytes(shapes);
    shapes.metadata.max_blocks_per_seq = 400;
    EXPECT_GT(cuda::paged_attention_workspace_bytes(shapes), before);
  }
}

TEST(KvCacheArgs, NoTokensAreNoWork) {
  PagedAttentionArgs a;
  a.cache = cache();
  a.num_heads = 2;
  EXPECT_EQ(cuda::paged_attention_workspace_bytes(a), 0u);
  cuda::paged_attention(a, nullptr);
  RopeAppendArgs r;
  r.cache = cache();
  r.num_heads = 2;
  cuda::rope_append(r, nullptr);
  test::throw_on_error(cudaDeviceSynchronize());
}

TEST(CopyBlock, CopiesOneBlockOfEveryLayer) {
  for (const DType type : {DType::f16, DType::f32}) {
    KvCacheView view{nullptr, type, 3, 5, 2, 16, 8};
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
    expect_refused([&] { cuda::copy_block(view, 5, 1, nullptr); }, "from is 5; it must be in [0, cache.num_blocks)");
    expect_refused([&] { cuda::copy_block(view, 0, -1, nullptr); }, "to is -1");
  }
}

// The places that the header states: [layers, blocks, 2, kv_heads, block_size, head_dim].
TEST(CopyBlock, ViewsStateTheLayout) {
  constexpr KvCacheView view{nullptr, DType::bf16, 3, 5, 2, 16, 8};
  static_assert(view.bytes() == 3 * 5 * 2 * 2 * 8 * 16 * 2);
  static_assert(view.keys(2, 3, 1) == (((2 * 5 + 3) * 2 + 0) * 2 + 1) * 8 * 16);
  static_assert(view.values(2, 3, 1) == (((2 * 5 + 3) * 2 + 1) * 2 + 1) * 8 * 16);
  constexpr KvCacheView fewer{nullptr, DType::bf16, 3, 5, 1, 16, 8, KvLayout::hnd, 2};  // a head less, in the same places
  static_assert(fewer.bytes() == view.bytes());
  static_assert(fewer.keys(2, 3, 0) == view.keys(2, 3, 0) && fewer.values(2, 3, 0) == view.values(2, 3, 0));
}

}  // namespace
}  // namespace warploom
