// The contract's cases on the device, alone on several launch shapes and in batches.
#include "cuda/device_sampling.h"
#include "sampling/vector_cases.h"

namespace warploom {
namespace {

using test::VectorCase;

class DeviceVectors : public testing::TestWithParam<int> {};

TEST_P(DeviceVectors, OneByOne) {
  const std::vector<VectorCase> cases = test::load_vector_cases();
  ASSERT_EQ(cases.size(), 160u);
  for (const VectorCase& c : cases) {
    const auto vocab_size = static_cast<std::int64_t>(c.wide.size());
    test::expect_vector_case(
        c, test::sample_on_device({c.data(), c.type, 1, vocab_size, vocab_size}, {&c.row, 1}, GetParam()).at(0));
  }
}

TEST_P(DeviceVectors, MasksAndCounts) {
  std::vector<VectorCase> cases = test::load_vector_cases("mask_vectors.json");
  std::ranges::move(test::load_vector_cases("count_vectors.json"), std::back_inserter(cases));
  for (const VectorCase& c : cases) {
    const auto vocab_size = static_cast<std::int64_t>(c.wide.size());
    test::expect_vector_case(
        c, test::sample_on_device({c.data(), c.type, 1, vocab_size, vocab_size}, {&c.row, 1}, GetParam()).at(0));
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, DeviceVectors, testing::Values(0, 1, 3, 128), testing::PrintToStringParamName());

// Rows are widened and padded with masked tokens, which changes nothing.
TEST(DeviceVectors, InOneBatch) {
  const std::vector<VectorCase> cases = test::load_vector_cases();
  std::size_t vocab_size = 0;
  for (const VectorCase& c : cases) vocab_size = std::max(vocab_size, c.wide.size());
  std::vector<float> logits(cases.size() * vocab_size, -INFINITY);
  std::vector<SamplingInput> rows;
  for (std::size_t r = 0; r < cases.size(); ++r) {
    const VectorCase& c = cases[r];
    for (std::size_t i = 0; i < c.wide.size(); ++i)
      logits[r * vocab_size + i] = c.type == DType::f32   ? c.wide[i]
                                   : c.type == DType::f16 ? half_to_float(c.narrow[i])
                                                          : bfloat16_to_float(c.narrow[i]);
    rows.push_back(c.row);
  }
  const auto count = static_cast<std::int64_t>(vocab_size);
  const auto results =
      test::sample_on_device({logits.data(), DType::f32, static_cast<std::int64_t>(rows.size()), count, count}, rows, 0);
  for (std::size_t r = 0; r < rows.size(); ++r) test::expect_vector_case(cases[r], results[r]);
}

}  // namespace
}  // namespace warploom
