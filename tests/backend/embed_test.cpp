#include <algorithm>

#include "fixture.h"
#include "weights.h"

#include "checkpoint/quants.h"
#include "warploom/error.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Embed, read);

// Rows of a weight in memory, up to one that cannot be read.
class Rows final : public WeightSource {
 public:
  Rows(const WeightView& of, std::int64_t end) : of_(of), end_(end) {}
  void read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const override {
    if (first + count > end_) throw ModelError("a row cannot be read");
    const std::size_t row = view.row_bytes();
    std::copy_n(of_.data + static_cast<std::size_t>(first) * row, static_cast<std::size_t>(count) * row, out);
  }

 private:
  const WeightView& of_;
  std::int64_t end_;
};

// On CUDA, weights of other types than those with 4 and 8 bits are rounded to 16 bits.
TEST_P(Embed, GivesTheFilesRows) {
  const bool cuda = GetParam().kind == DeviceKind::cuda;
  for (const WeightType type : test::kAllWeightTypes) {
    const std::int64_t cols = 512, rows = 37;
    const test::RandomWeight weight(rng, type, rows, cols);
    const auto table = backend->load_weight({&weight.view, 1});
    const std::vector<TokenId> ids = {0, 36, 16, 15, 1, 16, 31};
    const auto device_ids = test::upload(*backend, ids);
    test::Guarded out(*backend, ids.size() * static_cast<std::size_t>(cols));
    backend->embed(
        {table.get(), static_cast<const TokenId*>(device_ids->data()), static_cast<std::int64_t>(ids.size()), out.data()});
    std::vector<float> want(ids.size() * static_cast<std::size_t>(cols));
    for (std::size_t i = 0; i < ids.size(); ++i)
      dequantize_row(weight.view, ids[i],
                     std::span(want).subspan(i * static_cast<std::size_t>(cols), static_cast<std::size_t>(cols)));
    const std::vector<float> got = out.read();
    // The scale and the minimum of a group are rounded; what each contributes is below twice the largest weight.
    float largest = 0;
    for (const float w : want) largest = std::isfinite(w) ? std::max(largest, std::abs(w)) : largest;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(want[i])) {
        ASSERT_TRUE(std::isnan(got[i]));
      } else {
        ASSERT_NEAR(got[i], want[i], cuda ? 2 * test::rounding(backend->activation_type()) * largest + 0x1p-25 : 0.0)
            << traits(type).name << " at " << i;
      }
    }
  }
}

// In more pieces than one, the last of which is no whole number of panels.
TEST_P(Embed, RowsMayComeFromASource) {
  const std::int64_t cols = 512, rows = 3001;
  const test::RandomWeight weight(rng, WeightType::q4_1, rows, cols);
  const Rows all(weight.view, rows), some(weight.view, rows - 1);
  WeightView view = weight.view;
  view.data = nullptr;
  view.source = &some;
  EXPECT_THROW(backend->load_weight({&view, 1}), ModelError);
  view.source = &all;
  const std::vector<WeightView> parts = {view, weight.view};
  const auto stacked = backend->load_weight(parts);
  ASSERT_EQ(stacked->rows(), 2 * rows);
  const std::vector<TokenId> ids = {0, 15, 16, 407, 408, 409, 2048, 2999, 3000};
  const auto rows_at = [&](TokenId from) {
    std::vector<TokenId> shifted = ids;
    for (TokenId& id : shifted) id += from;
    const auto device_ids = test::upload(*backend, shifted);
    test::Guarded out(*backend, ids.size() * static_cast<std::size_t>(cols));
    backend->embed(
        {stacked.get(), static_cast<const TokenId*>(device_ids->data()), static_cast<std::int64_t>(ids.size()), out.data()});
    return out.read();
  };
  EXPECT_TRUE(test::same_bits(rows_at(0), rows_at(static_cast<TokenId>(rows))));
}

}  // namespace
}  // namespace warploom
