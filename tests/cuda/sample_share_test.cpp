// Rows that several blocks share, on a GPU that has other work too: what a call takes of it, and what it does with a share. On
// the emulator, which can hand out shares.
#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "cuda/sample_traffic.h"
#include "emulator/emulator.h"
#include "sampling/random_rows.h"

namespace warploom {
namespace {

constexpr std::int64_t kVocab = 32768;

struct Rows {
  std::vector<float> logits;
  std::vector<SamplingInput> inputs;

  explicit Rows(std::size_t count) : inputs(count) {
    std::mt19937_64 rng(count);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (std::size_t i = 0; i < count * kVocab; ++i) logits.push_back(normal(rng));
    for (std::size_t r = 0; r < count; ++r) {
      inputs[r].params.temperature = 0.9f;
      inputs[r].params.top_k = r % 2 == 0 ? 0 : 3000;
      inputs[r].params.top_p = r % 3 == 0 ? 1.0f : 0.95f;
      inputs[r].params.seed = r;
    }
  }
  std::vector<SampleResult> sample() const {
    return test::sample_on_device({logits.data(), DType::f32, static_cast<std::int64_t>(inputs.size()), kVocab, kVocab},
                                  inputs, 0, {.top_logprobs = 5});
  }
};

void expect_equal(const std::vector<SampleResult>& got, const std::vector<SampleResult>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t r = 0; r < got.size(); ++r) {
    EXPECT_EQ(got[r].status, SampleStatus::ok);
    EXPECT_EQ(got[r].token, want[r].token) << "row " << r;
    EXPECT_EQ(got[r].total_weight, want[r].total_weight) << "row " << r;
    EXPECT_EQ(got[r].top.size(), want[r].top.size()) << "row " << r;
  }
}

class SampleShare : public testing::Test {
 protected:
  void SetUp() override {
    if (warploom_emulator_partition == nullptr) GTEST_SKIP() << "only the emulator hands out shares";
    int device = 0;
    test::throw_on_error(cudaGetDevice(&device));
    test::throw_on_error(cudaDeviceGetAttribute(&processors_, cudaDevAttrMultiProcessorCount, device));
  }
  void TearDown() override {
    if (warploom_emulator_partition == nullptr) return;
    warploom_emulator_partition(0);
    warploom_emulator_inject("*", 0, 0);
    warploom_emulator_count(0);
  }
  /// Blocks of the draw alone.
  static std::uint64_t blocks_of(const Rows& rows) {
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
    rows.sample();
    warploom_emulator_count(0);
    WarploomCounters counters{};
    EXPECT_EQ(warploom_emulator_counters("sample_kernel", &counters), 1);
    return counters.blocks;
  }

  int processors_ = 0;
};

TEST_F(SampleShare, ACallTakesOneBlockOfEachMultiprocessorAtMost) {
  for (const std::size_t count : {1, 2, 5, 8, 13, 40}) {
    const std::uint64_t blocks = blocks_of(Rows(count));
    EXPECT_LE(blocks, static_cast<std::uint64_t>(processors_)) << count << " rows";
    EXPECT_GE(blocks, std::min<std::uint64_t>(count * 16, static_cast<std::uint64_t>(processors_) / 2)) << count << " rows";
  }
}

// Rows in 12 parts, whose logits take 42 KiB of shared memory if they are kept, and are read from L2 again if they are not.
TEST_F(SampleShare, ACallLeavesHalfOfASmallSharedMemory) {
  int device = 0, shared = 0;
  test::throw_on_error(cudaGetDevice(&device));
  test::throw_on_error(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
  test::TrafficCase c{.strategy = "temperature", .params = {}, .rows = processors_ / 12};
  const auto traffic = test::measure_traffic(c);
  ASSERT_TRUE(traffic);
  EXPECT_EQ(traffic->counters.blocks, static_cast<std::uint64_t>(12 * c.rows));
  if (shared > 100 * 1024)
    EXPECT_LT(traffic->asked(), 1.2);
  else
    EXPECT_GT(traffic->asked(), 1.8);
}

TEST_F(SampleShare, AGreenContextGetsTheBlocksThatItsMultiprocessorsHold) {
  for (const std::size_t count : {1, 3, 9}) {
    const Rows rows(count);
    const auto want = rows.sample();
    for (const int share : {1, 2, 8, 16}) {
      warploom_emulator_partition(share);
      expect_equal(rows.sample(), want);
      EXPECT_LE(blocks_of(rows), std::max<std::uint64_t>(count, static_cast<std::uint64_t>(share)));
      warploom_emulator_partition(0);
    }
  }
}

// As by a driver that does not know green contexts: the launch is refused, and comes again with fewer blocks.
TEST_F(SampleShare, ALaunchThatIsTooLargeIsCutSmaller) {
  for (const std::size_t count : {1, 3, 9}) {
    const Rows rows(count);
    const auto want = rows.sample();
    for (const int share : {1, 2}) {
      warploom_emulator_partition(share);
      warploom_emulator_inject("cudaGetDriverEntryPointByVersion", 1, cudaErrorSymbolNotFound);
      expect_equal(rows.sample(), want);
      EXPECT_EQ(warploom_emulator_injections(), 1);
      EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
      warploom_emulator_inject("*", 0, 0);
      warploom_emulator_partition(0);
    }
  }
}

}  // namespace
}  // namespace warploom
