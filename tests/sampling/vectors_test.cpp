// The contract's cases, through the public API.
#include "sampling/vector_cases.h"

namespace warploom {
namespace {

using test::expect_vector_case;
using test::load_vector_cases;
using test::VectorCase;

TEST(Vectors, OneByOne) {
  const std::vector<VectorCase> cases = load_vector_cases();
  ASSERT_EQ(cases.size(), 160u);
  for (const VectorCase& c : cases) {
    const auto vocab_size = static_cast<std::int64_t>(c.wide.size());
    expect_vector_case(c, sample({c.data(), c.type, 1, vocab_size, vocab_size}, {&c.row, 1}).at(0));
  }
}

void expect_on_every_isa(const std::vector<VectorCase>& cases) {
  for (const CpuIsa isa : available_cpu_isas()) {
    SCOPED_TRACE(name(isa));
    Sampler sampler(1, isa);
    for (const VectorCase& c : cases) {
      const auto vocab_size = static_cast<std::int64_t>(c.wide.size());
      expect_vector_case(c, sampler.sample({c.data(), c.type, 1, vocab_size, vocab_size}, {&c.row, 1}).at(0));
    }
  }
}

TEST(Vectors, MasksOnEveryInstructionSet) {
  const std::vector<VectorCase> cases = load_vector_cases("mask_vectors.json");
  ASSERT_EQ(cases.size(), 128u);
  expect_on_every_isa(cases);
}

TEST(Vectors, PenaltiesThatCountAPartOfTheHistory) {
  const std::vector<VectorCase> cases = load_vector_cases("count_vectors.json");
  ASSERT_EQ(cases.size(), 64u);
  expect_on_every_isa(cases);
}

TEST(Vectors, SeedsOfRequests) {
  std::ifstream file(std::string(WARPLOOM_TEST_DATA) + "/request_seed_vectors.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 32u);
  for (const auto& c : cases)
    EXPECT_EQ(
        std::to_string(request_seed(std::stoull(c["seed"].get<std::string>()), c["prompt"].get<std::vector<TokenId>>())),
        c["expect"].get<std::string>())
        << c["id"];
}

// A batch has one vocabulary and one type: rows are widened and padded with masked tokens, which changes nothing.
TEST(Vectors, InOneBatch) {
  const std::vector<VectorCase> cases = load_vector_cases();
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
  for (const int threads : {1, 4}) {
    const auto results =
        sample({logits.data(), DType::f32, static_cast<std::int64_t>(rows.size()), count, count}, rows, {}, threads);
    for (std::size_t r = 0; r < rows.size(); ++r) expect_vector_case(cases[r], results[r]);
  }
}

}  // namespace
}  // namespace warploom
