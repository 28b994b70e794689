#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"
#include "warploom/sampling.h"

namespace warploom {
namespace {

const float kLogits[4] = {1.0f, 2.0f, 3.0f, 4.0f};

std::string refusal(const SamplingInput& row, LogitsView view = {kLogits, DType::f32, 1, 4, 4}) {
  try {
    static_cast<void>(sample(view, {&row, 1}));
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "";
}

TEST(Validation, NamesTheParameterThatIsOutOfRange) {
  using testing::HasSubstr;
  const auto with = [](auto change) {
    SamplingInput row;
    change(row.params);
    return refusal(row);
  };
  EXPECT_THAT(with([](auto& p) { p.temperature = -0.1f; }), HasSubstr("temperature"));
  EXPECT_THAT(with([](auto& p) { p.temperature = NAN; }), HasSubstr("temperature"));
  EXPECT_THAT(with([](auto& p) { p.temperature = INFINITY; }), HasSubstr("temperature"));
  EXPECT_THAT(with([](auto& p) { p.top_k = -1; }), HasSubstr("top_k"));
  EXPECT_THAT(with([](auto& p) { p.top_p = 0.0f; }), HasSubstr("top_p"));
  EXPECT_THAT(with([](auto& p) { p.top_p = NAN; }), HasSubstr("top_p"));
  EXPECT_THAT(with([](auto& p) { p.min_p = 1.5f; }), HasSubstr("min_p"));
  EXPECT_THAT(with([](auto& p) { p.min_p = NAN; }), HasSubstr("min_p"));
  EXPECT_THAT(with([](auto& p) { p.repetition_penalty = 0.0f; }), HasSubstr("repetition_penalty"));
  EXPECT_THAT(with([](auto& p) { p.frequency_penalty = NAN; }), HasSubstr("frequency_penalty"));
  EXPECT_THAT(with([](auto& p) { p.presence_penalty = INFINITY; }), HasSubstr("presence_penalty"));
  EXPECT_EQ(refusal({}), "");
}

TEST(Validation, RefusesViewsHistoriesAndBiasesOutOfRange) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal({}, {kLogits, DType::f32, 1, 0, 4}), HasSubstr("vocab"));
  EXPECT_THAT(refusal({}, {kLogits, DType::f32, 1, (1 << 22) + 1, 1 << 23}), HasSubstr("vocab"));
  EXPECT_THAT(refusal({}, {kLogits, DType::f32, 2, 4, 4}), HasSubstr("rows"));
  EXPECT_THAT(refusal({}, {kLogits, DType::f32, 1, 4, 3}), HasSubstr("row_stride"));
  EXPECT_THAT(refusal({}, {nullptr, DType::f32, 1, 4, 4}), HasSubstr("data"));
  const TokenId past = 4;
  const LogitBias negative{-1, 0.0f};
  SamplingInput row;
  row.history = {&past, 1};
  EXPECT_THAT(refusal(row), HasSubstr("history"));
  const TokenId known = 3;
  row.history = {&known, 1};
  for (const std::int64_t begin : {-1, 2}) {
    row.count_begin = begin;
    EXPECT_THAT(refusal(row), HasSubstr("row 0: count_begin"));
  }
  row = {};
  row.bias = {&negative, 1};
  EXPECT_THAT(refusal(row), HasSubstr("bias"));
}

// A NaN row among good ones gets a status; its neighbours get what they would get alone.
TEST(Validation, BadRowsTouchNoNeighbour) {
  std::vector<float> logits = {1, 2, 3, 4, NAN, 2, 3, 4, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 4, 3, 2, 1};
  std::vector<SamplingInput> rows(4);
  for (std::size_t i = 0; i < 4; ++i) rows[i].params.seed = i;
  const auto all = sample({logits.data(), DType::f32, 4, 4, 4}, rows);
  EXPECT_EQ(all[1].status, SampleStatus::invalid_logits);
  EXPECT_EQ(all[1].token, -1);
  EXPECT_EQ(all[2].status, SampleStatus::all_masked);
  EXPECT_EQ(all[2].token, -1);
  for (const std::size_t i : {std::size_t{0}, std::size_t{3}})
    EXPECT_EQ(all[i].token, sample({logits.data() + 4 * i, DType::f32, 1, 4, 4}, {&rows[i], 1}).at(0).token);
}

}  // namespace
}  // namespace warploom
