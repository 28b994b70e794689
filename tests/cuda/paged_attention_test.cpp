// Paged attention: against the oracle, and against itself if the same bits must come out.
#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "cuda/paged_cache.h"
#include "emulator/emulator.h"
#include "support/same_bits.h"

namespace warploom {
namespace {

using test::PagedCache;
using test::PagedCase;
using test::PagedData;
using test::random_data;
using test::RowTypes;
using test::same_bits;
using test::Span;

class PagedAttention : public testing::Test {
 protected:
  static constexpr std::uint32_t kSeed = 20240917;
  std::mt19937 rng{kSeed};
  testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(kSeed)};
};

std::vector<Span> whole(const PagedCase& c) {
  std::vector<Span> spans;
  for (std::size_t s = 0; s < c.lengths.size(); ++s) spans.push_back({s, 0, c.lengths[s]});
  return spans;
}
// The last token of each sequence.
std::vector<Span> last(const PagedCase& c) {
  std::vector<Span> spans;
  for (std::size_t s = 0; s < c.lengths.size(); ++s) spans.push_back({s, c.lengths[s] - 1, c.lengths[s]});
  return spans;
}

// What rounding a query and probabilities to bf16 does to them; 0 if they are sums of parts.
double rounding_of(const PagedCase& c) { return c.round_to_bf16 ? 0x1p-8 : 0.0; }

// The largest difference from the oracle, which may be `tolerance` more than what rounding explains.
double expect_oracle(const PagedCase& c, const PagedData& data, const std::vector<float>& got,
                     const std::vector<Span>& spans, double tolerance) {
  std::size_t i = 0;
  double worst = 0.0;
  for (const Span& span : spans) {
    for (std::int64_t p = span.from; p < span.to; ++p) {
      const test::ExactAttention want = test::attend_within(c, data, span.sequence, p, rounding_of(c));
      for (std::size_t j = 0; j < want.value.size(); ++j, ++i) {
        const double error = std::abs(static_cast<double>(got.at(i)) - want.value[j]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        if (!(error <= tolerance + want.bound[j])) {
          ADD_FAILURE() << "sequence " << span.sequence << " position " << p << ": " << got[i] << " instead of "
                        << want.value[j] << ", bound " << want.bound[j];
          return worst;
        }
      }
    }
  }
  EXPECT_EQ(i, got.size());
  return worst;
}

// What rounding queries and weights to 11 bits (f16), to two parts of 8 (bf16) and to three (f32) does to results of order
// one, and what tensor cores cut off of sums: some three times the largest difference that was seen, which is 9.7e-4, 1.5e-5 and
// 1.1e-5 (256 dimensions, sums as an A100's; as an H100's 7.2e-6).
double tolerance(DType type) { return type == DType::f16 ? 3e-3 : type == DType::bf16 ? 4e-5 : 3e-5; }

void expect_oracle_both(const PagedCase& c, std::mt19937& rng, double allowed, const RowTypes& types = {},
                        float spread = 1.0f) {
  SCOPED_TRACE(testing::Message() << c.heads << " heads, " << c.kv_heads << " kv heads of " << c.head_dim << ", type "
                                  << static_cast<int>(c.type) << ", blocks of " << c.block_size << ", window " << c.window
                                  << ", cap " << c.soft_cap);
  const PagedData data = random_data(c, rng, types.queries, spread);
  PagedCache cache(c, data, static_cast<std::uint32_t>(rng()), types);
  const std::vector<float> prefill = cache.attend(whole(c));
  expect_oracle(c, data, prefill, whole(c), allowed);
  const std::vector<float> decode = cache.attend(last(c));
  expect_oracle(c, data, decode, last(c), allowed);
}

constexpr DType kTypes[] = {DType::f16, DType::bf16, DType::f32};
const std::array<std::int64_t, 3> kShapes[] = {{1, 1, 16},  {4, 2, 32},  {9, 3, 64},  {5, 1, 80},  {3, 3, 96},
                                               {8, 2, 128}, {2, 1, 256}, {20, 1, 16}, {33, 1, 64}, {2, 2, 208}};

TEST_F(PagedAttention, EqualsTheOracle) {
  for (const DType type : kTypes)
    for (const std::int64_t block_size : {8, 16, 32})
      for (const auto& [heads, kv_heads, head_dim] : kShapes) {
        const PagedCase c{heads, kv_heads, head_dim, type, {1, 17, 33, 8, 131}, block_size};
        expect_oracle_both(c, rng, tolerance(type));
      }
}

// Within what rounding to 8 bits explains, and further from the oracle than sums of two parts are.
TEST_F(PagedAttention, RoundedToBf16) {
  const std::array<std::int64_t, 3> shapes[] = {{9, 3, 64}, {5, 1, 80}, {8, 2, 128}, {2, 1, 256}, {2, 2, 208}};
  for (const auto& [heads, kv_heads, head_dim] : shapes)
    for (const float cap : {0.0f, 3.0f}) {
      PagedCase c{heads, kv_heads, head_dim, DType::bf16, {1, 17, 131}, 16, 0, cap};
      const PagedData data = random_data(c, rng);
      const std::vector<float> exact = PagedCache(c, data, 1).attend(whole(c));
      c.round_to_bf16 = true;
      PagedCache cache(c, data, 1);
      const std::vector<float> prefill = cache.attend(whole(c));
      const double error = expect_oracle(c, data, prefill, whole(c), tolerance(c.type));
      EXPECT_GT(error, 10 * tolerance(c.type)) << head_dim << " dimensions, cap " << cap;
      EXPECT_FALSE(same_bits(prefill, exact));
      expect_oracle(c, data, cache.attend(last(c)), last(c), tolerance(c.type));
    }
  PagedCase c{3, 1, 64, DType::bf16, {700, 1025, 513}};  // beyond what one block takes at once
  c.round_to_bf16 = true;
  const PagedData data = random_data(c, rng);
  expect_oracle(c, data, PagedCache(c, data, 5).attend(last(c)), last(c), tolerance(c.type));
}

TEST_F(PagedAttention, LongContexts) {
  for (const DType type : kTypes)
    for (const std::int64_t head_dim : {16, 64, 128, 256}) {
      const PagedCase c{3, 1, head_dim, type, {300, 129, 128}};
      expect_oracle_both(c, rng, tolerance(type));
      const PagedCase longer{3, 1, head_dim, type, {700, 1025, 513}};  // beyond what one block takes at once
      const PagedData data = random_data(longer, rng);
      PagedCache cache(longer, data, 5);
      expect_oracle(longer, data, cache.attend(last(longer)), last(longer), tolerance(type));
    }
}

TEST_F(PagedAttention, WindowsAndSoftCaps) {
  for (const std::int64_t window : {1, 7, 16, 128, 140, 1000})
    expect_oracle_both({3, 1, 16, DType::f32, {300, 5}, window % 2 == 0 ? 8 : 32, window}, rng, tolerance(DType::f32));
  for (const DType type : kTypes)
    for (const float cap : {0.5f, 3.0f, 50.0f})
      expect_oracle_both({4, 2, 64, type, {40, 3}, 16, 0, cap}, rng, tolerance(type));
  expect_oracle_both({3, 1, 64, DType::f16, {900, 140}, 16, 600, 30.0f}, rng, tolerance(DType::f16));
}

// Keys outside of the windows of all rows of a step are not read: their blocks may belong to other sequences.
TEST_F(PagedAttention, BlocksBeforeTheWindowMayBeGone) {
  for (const std::int64_t window : {5, 60, 300}) {
    const PagedCase c{3, 1, 64, DType::f16, {700, 130}, 8, window};
    const PagedData data = random_data(c, rng);
    const std::vector<Span> steps[] = {last(c), {{0, 650, 700}, {1, 129, 130}}};
    for (const std::vector<Span>& spans : steps) {
      PagedCache whole_cache(c, data, 1), cache(c, data, 1);
      for (const Span& span : spans) cache.forget(span.sequence, std::max<std::int64_t>(0, span.from - window + 1));
      const std::vector<float> got = cache.attend(spans);
      expect_oracle(c, data, got, spans, tolerance(c.type));
      EXPECT_TRUE(same_bits(got, whole_cache.attend(spans)));
    }
  }
}

TEST_F(PagedAttention, QueriesAndResultsOfEveryType) {
  for (const DType query_type : kTypes)
    for (const DType out_type : kTypes) {
      const PagedCase c{9, 3, 64, DType::f16, {20, 1}};
      // Results stay below 4: half a unit in the last place of the type.
      const double rounding = out_type == DType::f32 ? 0.0 : out_type == DType::f16 ? 1e-3 : 8e-3;
      expect_oracle_both(c, rng, tolerance(DType::f16) + rounding, {query_type, out_type});
    }
}

// Each head's result is the value of a key whose score is the largest but for rounding.
void expect_one_value(const PagedCase& c, const PagedData& data, const std::vector<float>& got) {
  std::size_t i = 0;
  for (std::size_t s = 0; s < c.lengths.size(); ++s)
    for (std::int64_t p = 0; p < c.lengths[s]; ++p)
      for (std::int64_t h = 0; h < c.heads; ++h, i += static_cast<std::size_t>(c.head_dim)) {
        const float* query = &data.queries[s][static_cast<std::size_t>((p * c.heads + h) * c.head_dim)];
        std::vector<double> scores;
        double error = 0.0;  // of queries with 8 bits
        const float* found = nullptr;
        const auto at = [&](const std::vector<std::vector<float>>& of, std::int64_t q) {
          return &of[s][static_cast<std::size_t>((q * c.kv_heads + h / (c.heads / c.kv_heads)) * c.head_dim)];
        };
        for (std::int64_t q = 0; q <= p; ++q) {
          double dot = 0.0, size = 0.0;
          for (std::int64_t d = 0; d < c.head_dim; ++d) {
            const double term = static_cast<double>(query[d]) * static_cast<double>(at(data.keys, q)[d]);
            dot += term, size += std::abs(term);
          }
          scores.push_back(dot);
          error = std::max(error, 0x1p-8 * size);
        }
        const double max = *std::max_element(scores.begin(), scores.end());
        for (std::int64_t q = 0; q <= p && !found; ++q)
          if (scores[static_cast<std::size_t>(q)] >= max - 2 * error &&
              std::equal(&got[i], &got[i] + c.head_dim, at(data.values, q),
                         [](float x, float y) { return std::abs(x - y) <= 1e-5f * std::abs(y); }))
            found = at(data.values, q);
        ASSERT_TRUE(found) << "sequence " << s << " position " << p << " head " << h;
      }
  ASSERT_EQ(i, got.size());
}

// Rows of any size are scaled before they are rounded to half precision. If scores are large, one key takes all.
TEST_F(PagedAttention, QueriesOfAnySize) {
  for (const DType type : kTypes) {
    for (const float spread : {0.0f, 1e-30f, 1e-6f})
      expect_oracle_both({4, 2, 64, type, {40, 3}}, rng, tolerance(type), {}, spread);
    const PagedCase c{4, 2, 64, type, {200, 3}};
    const PagedData data = random_data(c, rng, DType::f32, 1e6f);
    PagedCache cache(c, data, 1);
    expect_one_value(c, data, cache.attend(whole(c)));
  }
}

// Prefill at once, in chunks, token by token, alone, in a crowd, with other block tables: always the same bits.
TEST_F(PagedAttention, ChunksCrowdsAndBlockTablesChangeNothing) {
  struct Bits {
    std::int64_t heads, kv_heads, head_dim;
    DType type;
    std::int64_t block_size, window;
    bool round_to_bf16 = false;
  };
  for (const Bits& b :
       {Bits{9, 3, 64, DType::f16, 16, 0}, Bits{9, 3, 64, DType::f16, 16, 100}, Bits{4, 1, 128, DType::f16, 8, 0},
        Bits{2, 1, 256, DType::f16, 32, 0}, Bits{3, 1, 80, DType::bf16, 16, 0}, Bits{2, 1, 256, DType::bf16, 16, 130},
        Bits{3, 1, 32, DType::f32, 16, 0}, Bits{2, 1, 128, DType::f32, 8, 77}, Bits{1, 1, 256, DType::f32, 16, 0},
        Bits{20, 1, 16, DType::f16, 16, 0}, Bits{9, 3, 64, DType::bf16, 16, 0, true},
        Bits{4, 1, 128, DType::bf16, 8, 100, true}, Bits{2, 1, 256, DType::bf16, 16, 0, true},
        Bits{3, 1, 80, DType::bf16, 16, 0, true}}) {
    SCOPED_TRACE(testing::Message() << b.heads << " heads of " << b.head_dim << " type " << static_cast<int>(b.type)
                                    << " window " << b.window);
    PagedCase c{b.heads, b.kv_heads, b.head_dim, b.type, {141, 31, 129, 16}, b.block_size, b.window};
    c.round_to_bf16 = b.round_to_bf16;
    const PagedData data = random_data(c, rng);
    std::vector<std::vector<float>> alone;
    for (std::size_t s = 0; s < c.lengths.size(); ++s) {
      PagedCache cache(c, data, 7);
      alone.push_back(cache.attend({{s, 0, c.lengths[s]}}));
    }
    for (const std::int64_t chunk : {1, 7, 15, 64, 1000}) {
      PagedCache cache(c, data, static_cast<std::uint32_t>(100 + chunk));
      std::vector<std::vector<float>> got(c.lengths.size());
      const std::int64_t width = c.heads * c.head_dim;
      for (std::int64_t from = 0; from < c.lengths[0]; from += chunk) {
        std::vector<Span> spans;
        for (std::size_t s = 0; s < c.lengths.size(); ++s) spans.push_back({s, from, std::min(from + chunk, c.lengths[s])});
        const std::vector<float> out = cache.attend(spans);
        auto at = out.begin();
        for (const Span& span : spans) {
          const auto size = static_cast<std::ptrdiff_t>(std::max<std::int64_t>(0, span.to - span.from) * width);
          got[span.sequence].insert(got[span.sequence].end(), at, at + size);
          at += size;
        }
      }
      for (std::size_t s = 0; s < got.size(); ++s)
        EXPECT_TRUE(same_bits(got[s], alone[s])) << "sequence " << s << ", " << chunk << " tokens at a time";
    }
  }
}

// Alone a long context is split over blocks, among many sequences it stays in one, in a prompt's last token it is walked:
// the same bits.
TEST_F(PagedAttention, SplitContextsGiveTheBitsOfWholeOnes) {
  for (const auto& [type, head_dim, window, rounded] : {std::tuple{DType::f16, 16, 0, false},
                                                        {DType::f16, 64, 0, false},
                                                        {DType::bf16, 128, 0, false},
                                                        {DType::bf16, 128, 0, true},
                                                        {DType::bf16, 256, 900, true},
                                                        {DType::f32, 64, 0, false},
                                                        {DType::f32, 256, 0, false},
                                                        {DType::f16, 128, 900, false}}) {
    PagedCase c{2, 1, head_dim, type, std::vector<std::int64_t>(260, 3), 16, window};
    c.round_to_bf16 = rounded;
    c.lengths[0] = 1100;
    c.lengths[100] = 700;
    const PagedData data = random_data(c, rng);
    const std::size_t row = static_cast<std::size_t>(c.heads * c.head_dim);
    PagedCache cache(c, data, 1);
    const std::vector<float> crowd = cache.attend(last(c));
    for (const std::size_t s : {0, 100}) {
      const std::vector<float> of_crowd(crowd.begin() + static_cast<std::ptrdiff_t>(s * row),
                                        crowd.begin() + static_cast<std::ptrdiff_t>((s + 1) * row));
      const std::int64_t n = c.lengths[s];
      EXPECT_TRUE(same_bits(cache.attend({{s, n - 1, n}}), of_crowd)) << "alone";
      const std::vector<float> beside = cache.attend({{1, 0, 3}, {s, n - 1, n}});
      EXPECT_TRUE(same_bits({beside.end() - static_cast<std::ptrdiff_t>(row), beside.end()}, of_crowd)) << "beside a prompt";
      const std::vector<float> prompt = cache.attend({{s, n - 3, n}});
      EXPECT_TRUE(same_bits({prompt.end() - static_cast<std::ptrdiff_t>(row), prompt.end()}, of_crowd)) << "in a prompt";
    }
  }
}

// Contexts of several folds of 2048 keys: shared among blocks, in one block, with a few more tokens, in a prompt.
TEST_F(PagedAttention, FoldsOfLongContexts) {
  for (const auto& [type, head_dim, window, rounded] : {std::tuple{DType::f16, 16, 0, false},
                                                        {DType::bf16, 64, 3000, false},
                                                        {DType::bf16, 64, 3000, true},
                                                        {DType::f32, 16, 0, false},
                                                        {DType::f16, 256, 2100, false}}) {
    SCOPED_TRACE(testing::Message() << head_dim << " dimensions, type " << static_cast<int>(type) << ", window " << window);
    PagedCase c{2, 1, head_dim, type, {4500, 2049, 6200}, 16, window};
    c.round_to_bf16 = rounded;
    if (head_dim == 16) c.lengths.insert(c.lengths.end(), 100, 600);
    const PagedData data = random_data(c, rng);
    const auto row = static_cast<std::ptrdiff_t>(c.heads * c.head_dim);
    PagedCache cache(c, data, 1);
    const std::vector<float> crowd = cache.attend(last(c));
    if (warploom_emulator_partition != nullptr) {  // so few blocks that one has whole contexts
      warploom_emulator_partition(1);
      EXPECT_TRUE(same_bits(cache.attend(last(c)), crowd));
      warploom_emulator_partition(0);
    }
    for (std::size_t s = 0; s < 3; ++s) {
      const std::int64_t n = c.lengths[s];
      const std::vector<float> in_crowd(crowd.begin() + static_cast<std::ptrdiff_t>(s) * row,
                                        crowd.begin() + static_cast<std::ptrdiff_t>(s + 1) * row);
      expect_oracle(c, data, in_crowd, {{s, n - 1, n}}, tolerance(type));
      EXPECT_TRUE(same_bits(cache.attend({{s, n - 1, n}}), in_crowd)) << "alone";
      for (const std::int64_t tokens : {3, 17, 40}) {  // 6, 34 and 80 rows
        const std::vector<float> several = cache.attend({{s, n - tokens, n}});
        EXPECT_TRUE(same_bits({several.end() - row, several.end()}, in_crowd)) << tokens << " tokens";
      }
    }
  }
}

// Padding stores zeros, whatever its queries and tables hold; sequences may have no token at all.
TEST_F(PagedAttention, PaddingAndEmptySequences) {
  const PagedCase c{9, 3, 64, DType::f16, {20, 33, 5}};
  const PagedData data = random_data(c, rng);
  PagedCache cache(c, data, 1);
  const std::size_t row = static_cast<std::size_t>(c.heads * c.head_dim);
  for (const bool decode : {true, false}) {
    const auto from = [&](std::size_t s) { return decode ? c.lengths[s] - 1 : 2; };
    const std::vector<Span> spans{{0, from(0), 20}, {1, 5, 5}, {2, from(2), 5}};
    const std::vector<float> plain = cache.attend(spans), padded = cache.attend(spans, 3);
    ASSERT_EQ(padded.size(), plain.size() + 3 * row);
    EXPECT_TRUE(same_bits({padded.begin(), padded.end() - static_cast<std::ptrdiff_t>(3 * row)}, plain));
    EXPECT_EQ(std::vector<float>(padded.end() - static_cast<std::ptrdiff_t>(3 * row), padded.end()),
              std::vector<float>(3 * row, 0.0f));
  }
}

TEST_F(PagedAttention, NanInOneSequenceStaysThere) {
  const PagedCase c{2, 1, 16, DType::f16, {20, 20}};
  PagedData data = random_data(c, rng);
  PagedCache clean(c, data, 3);
  const std::vector<float> want = clean.attend({{1, 0, 20}});
  for (auto* values : {&data.queries[0], &data.keys[0], &data.values[0]})
    std::fill(values->begin(), values->end(), std::nanf(""));
  PagedCache cache(c, data, 3);
  const std::vector<float> got = cache.attend(whole(c));
  EXPECT_TRUE(same_bits({got.end() - static_cast<std::ptrdiff_t>(want.size()), got.end()}, want));
  EXPECT_TRUE(std::isnan(got[0]));
}

// One workspace serves steps of all shapes, one after the other: each leaves the counters at zero.
TEST_F(PagedAttention, TheWorkspaceIsLeftAsItWasFound) {
  const PagedCase c{3, 3, 32, DType::f16, {1100, 600, 5}};
  const PagedData data = random_data(c, rng);
  PagedCache cache(c, data, 1);
  const auto counters = [&] {
    std::vector<std::byte> bytes(cuda::kAttentionZeroBytes);
    test::throw_on_error(cudaMemcpy(bytes.data(), cache.workspace(), bytes.size(), cudaMemcpyDeviceToHost));
    return bytes;
  };
  const std::vector<float> first = cache.attend(last(c));
  ASSERT_GE(cache.workspace_bytes(), cuda::kAttentionZeroBytes);
  EXPECT_EQ(counters(), std::vector<std::byte>(cuda::kAttentionZeroBytes));
  for (int round = 0; round < 2; ++round) {
    cache.attend({{1, 599, 600}});
    cache.attend({{2, 0, 5}, {0, 1090, 1091}});
    EXPECT_EQ(counters(), std::vector<std::byte>(cuda::kAttentionZeroBytes));
    EXPECT_TRUE(same_bits(cache.attend(last(c)), first));
  }
}

// A decode step is captured once; its tokens move on in device memory.
TEST_F(PagedAttention, ReplaysFollowThePositions) {
  const PagedCase c{9, 3, 64, DType::f16, {1100, 40, 300}};
  const PagedData data = random_data(c, rng);
  PagedCache cache(c, data, 1);
  const PagedAttentionArgs a = cache.arguments({{0, 3, 4}, {1, 0, 1}, {2, 7, 8}});
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  test::throw_on_error(cudaStreamCreate(&stream));
  test::throw_on_error(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cuda::paged_attention(a, stream);
  test::throw_on_error(cudaStreamEndCapture(stream, &graph));
  std::size_t nodes = 0;
  test::throw_on_error(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 1u);
  test::throw_on_error(cudaGraphInstantiate(&executable, graph, 0));
  for (const auto& positions : {std::vector<std::int64_t>{3, 0, 7}, {1099, 39, 8}, {511, 1, 299}, {512, 16, 128}}) {
    cache.move_to(positions);
    test::throw_on_error(cudaGraphLaunch(executable, stream));
    test::throw_on_error(cudaStreamSynchronize(stream));
    std::vector<Span> spans;
    for (std::size_t s = 0; s < 3; ++s) spans.push_back({s, positions[s], positions[s] + 1});
    expect_oracle(c, data, cache.result(), spans, tolerance(c.type));
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace warploom
