// A cache of which one layer has more than 2 GiB: what lies beyond is written, read and copied.
#include <algorithm>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "support/encoding.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom {
namespace {

using test::DeviceArray;

constexpr std::int64_t kHeads = 8, kDim = 128, kBlock = 16, kTokens = 40;  // 3 blocks of 64 KiB

/// Keys, values and queries of 40 tokens, in the blocks of `table` of an otherwise unwritten cache.
class Step {
 public:
  Step(std::int64_t num_blocks, const std::vector<std::int32_t>& table, std::uint32_t seed) : table_(table) {
    cache_ = {nullptr, DType::f16, 1, num_blocks, kHeads, kDim, kBlock};
    if (cudaMalloc(&cache_.data, static_cast<std::size_t>(cache_.bytes())) != cudaSuccess) cache_.data = nullptr;
    static_cast<void>(cudaGetLastError());
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    for (auto* rows : {&queries_, &keys_, &values_}) {
      std::vector<float> host(kTokens * kHeads * kDim);
      std::generate(host.begin(), host.end(), [&] { return normal(rng); });
      *rows = std::make_unique<DeviceArray<float>>(host);
    }
    std::vector<std::int32_t> positions(kTokens);
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i);
    positions_ = std::make_unique<DeviceArray<std::int32_t>>(positions);
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  ~Step() { cudaFree(cache_.data); }

  bool has_memory() const { return cache_.data != nullptr; }
  const KvCacheView& cache() const { return cache_; }

  /// All tokens; once, as keys are undefined afterwards.
  void append() {
    RopeAppendArgs a;
    a.queries = rows(*queries_, 0);
    a.keys = rows(*keys_, 0);
    a.values = rows(*values_, 0);
    a.num_heads = kHeads;
    a.cache = cache_;
    a.metadata = metadata(0);
    cuda::rope_append(a, nullptr);
  }
  /// Attention of the last `tokens`.
  std::vector<float> attend(std::int64_t tokens) {
    const DeviceArray<float> out(std::vector<float>(static_cast<std::size_t>(tokens * kHeads * kDim)));
    PagedAttentionArgs attention;
    attention.queries = rows(*queries_, kTokens - tokens);
    attention.num_heads = kHeads;
    attention.softmax_scale = 0.1f;
    attention.cache = cache_;
    attention.metadata = metadata(kTokens - tokens);
    attention.out = {out.data(), DType::f32, kHeads * kDim};
    EXPECT_EQ(cuda::paged_attention_workspace_bytes(attention), 0u);
    cuda::paged_attention(attention, nullptr);
    test::throw_on_error(cudaDeviceSynchronize());
    return out.host();
  }

 private:
  static TensorView rows(const DeviceArray<float>& of, std::int64_t from) {
    return {of.data() + from * kHeads * kDim, DType::f32, kHeads * kDim};
  }
  AttentionMetadata metadata(std::int64_t from) {
    const auto tokens = static_cast<std::int32_t>(kTokens - from);
    indptr_ = std::make_unique<DeviceArray<std::int32_t>>(std::vector<std::int32_t>{0, tokens});
    return {tokens, 1, tokens, positions_->data() + from, zeros_.data(), indptr_->data(), table_.data(), kTokens / 16 + 1};
  }

  KvCacheView cache_;
  DeviceArray<std::int32_t> table_, zeros_{std::vector<std::int32_t>(kTokens)};
  std::unique_ptr<DeviceArray<float>> queries_, keys_, values_;
  std::unique_ptr<DeviceArray<std::int32_t>> positions_, indptr_;
};

TEST(LargeCache, BlocksBeyondTwoGibibytesGiveTheSameBits) {
  constexpr std::int32_t kLast = 34999;  // 2.1 GiB in one layer
  Step small(3, {2, 0, 1}, 5), large(kLast + 1, {kLast, 0, kLast - 1}, 5);
  if (!large.has_memory()) GTEST_SKIP() << "the GPU has no " << large.cache().bytes() << " bytes left";
  ASSERT_GT(large.cache().keys(0, kLast, 0) * bytes_of(large.cache().type), std::int64_t{1} << 31);
  small.append();
  large.append();
  for (const std::int64_t tokens : {1, 40}) EXPECT_EQ(large.attend(tokens), small.attend(tokens)) << tokens << " tokens";
  // A copied block.
  cuda::copy_block(large.cache(), kLast, 7, nullptr);
  std::vector<std::uint16_t> from(static_cast<std::size_t>(large.cache().block_stride())), to(from.size());
  const auto* data = static_cast<const std::uint16_t*>(large.cache().data);
  for (const auto& [block, host] : {std::pair{std::int64_t{kLast}, &from}, {std::int64_t{7}, &to}})
    test::throw_on_error(
        cudaMemcpy(host->data(), data + large.cache().keys(0, block, 0), 2 * host->size(), cudaMemcpyDeviceToHost));
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace warploom
