// cuda::paged_attention() in the shape of an 8B model: heads of 128, four on each head of keys and values.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "bench/gpu/op_tests.h"
#include "bench/gpu/run.h"
#include "core/divide.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom::bench {

namespace {

constexpr std::int64_t kGroup = 4, kHeadDim = 128, kBlock = 16;  // kGroup: query heads of a kv head

using Batch = std::vector<SequenceLength>;

// Finite values of small exponents: a few random bytes over and over.
void fill(void* memory, std::size_t bytes, DType type) {
  std::mt19937 rng(1);
  std::vector<std::uint16_t> some(std::min<std::size_t>(bytes / 2, std::size_t{1} << 20));
  for (std::uint16_t& x : some)
    x = static_cast<std::uint16_t>(type == DType::f16 ? (rng() & 0x8000u) | 0x3000u | (rng() & 0x7ffu)
                                                      : (rng() & 0x8000u) | 0x3e00u | (rng() & 0xffu));
  for (std::size_t at = 0; at < bytes; at += 2 * some.size())
    cuda::check(cudaMemcpy(static_cast<std::byte*>(memory) + at, some.data(), std::min(2 * some.size(), bytes - at),
                           cudaMemcpyHostToDevice),
                "keys and values");
}

// Where the tokens of a batch lie, in device memory. Blocks of a sequence are scattered.
struct Metadata {
  std::vector<std::int32_t> positions, token_to_seq, starts = {0}, tables;
  std::int64_t longest = 0, most_tokens = 1, blocks = 0;

  explicit Metadata(const Batch& batch) {
    for (const SequenceLength& s : batch) {
      longest = std::max(longest, ceil_div(s.context, kBlock));
      most_tokens = std::max(most_tokens, s.tokens);
      blocks += ceil_div(s.context, kBlock);
    }
    std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    tables.assign(batch.size() * static_cast<std::size_t>(longest), 0);
    std::size_t next = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      for (std::int64_t b = 0; b < ceil_div(batch[i].context, kBlock); ++b)
        tables[i * static_cast<std::size_t>(longest) + static_cast<std::size_t>(b)] = order[next++];
      for (std::int64_t t = batch[i].tokens; t > 0; --t) {
        positions.push_back(static_cast<std::int32_t>(batch[i].context - t));
        token_to_seq.push_back(static_cast<std::int32_t>(i));
      }
      starts.push_back(static_cast<std::int32_t>(positions.size()));
    }
  }
};

// Pairs of a query and a key that it sees.
double pairs(const Batch& batch) {
  double sum = 0;
  for (const SequenceLength& s : batch)
    sum += static_cast<double>(s.tokens) * static_cast<double>(2 * s.context - s.tokens + 1) / 2;
  return sum;
}

double cache_bytes(const Batch& batch, std::int64_t kv_heads) {
  double tokens = 0;
  for (const SequenceLength& s : batch) tokens += static_cast<double>(s.context);
  return tokens * 2 * static_cast<double>(kv_heads) * kHeadDim * 2;
}

void run_test(const GpuRun& run, const AttentionTest& test) {
  const Batch& batch = test.batch;
  const std::int64_t heads = test.heads, kv_heads = heads / kGroup;
  const Metadata m(batch);
  KvCacheView cache;
  cache.type = test.type, cache.num_layers = 1, cache.num_blocks = m.blocks, cache.num_kv_heads = kv_heads;
  cache.head_dim = kHeadDim, cache.block_size = kBlock;
  const cuda::DeviceBuffer memory(static_cast<std::size_t>(cache.bytes()), "keys and values");
  fill(memory.data(), memory.bytes(), test.type);
  cache.data = memory.data();
  const OnDevice<std::int32_t> positions(m.positions), token_to_seq(m.token_to_seq), starts(m.starts), tables(m.tables);
  const auto tokens = static_cast<std::int64_t>(m.positions.size());
  std::vector<float> values(static_cast<std::size_t>(tokens * heads * kHeadDim));
  std::mt19937 rng(2);
  for (float& x : values) x = static_cast<float>(rng() % 2000) * 1e-3f - 1.0f;
  const OnDevice<float> queries(values);
  const cuda::DeviceBuffer out(values.size() * 2, "the result");
  PagedAttentionArgs args;
  args.queries = {queries.data(), DType::f32, heads * kHeadDim};
  args.num_heads = heads;
  args.softmax_scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  args.metadata = {tokens,
                   static_cast<std::int64_t>(batch.size()),
                   m.most_tokens,
                   positions.data(),
                   token_to_seq.data(),
                   starts.data(),
                   tables.data(),
                   m.longest};
  args.cache = cache;
  args.round_to_bf16 = test.rounded;
  args.out = {out.data(), test.type, heads * kHeadDim};
  const cuda::DeviceBuffer workspace(std::max<std::size_t>(cuda::paged_attention_workspace_bytes(args), 16), "a workspace");
  cuda::check(cudaMemset(workspace.data(), 0, std::min(workspace.bytes(), cuda::kAttentionZeroBytes)), "a workspace");
  have_arrived();
  args.workspace = {workspace.data(), workspace.bytes()};
  run.time(test.name(), cache_bytes(batch, kv_heads), 4.0 * static_cast<double>(heads) * kHeadDim * pairs(batch), false,
           [&] { cuda::paged_attention(args, run.timer.stream()); });
}

}  // namespace

void run_attention(const GpuRun& run) {
  for (const AttentionTest& test : attention_tests(run.options.small))
    if (run.wants(test.name())) run_test(run, test);
}

}  // namespace warploom::bench
