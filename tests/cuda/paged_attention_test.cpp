// Attention over pages: against plain sums in double, and against itself where the same bits must come out.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "cuda/paged_cache.h"

namespace warploom {
namespace {

using test::PagedCache;
using test::PagedCase;
using test::PagedData;
using test::Span;

class PagedAttention : public testing::Test {
 protected:
  PagedAttention() { RecordProperty("seed", 20240917); }
  std::mt19937 rng{20240917};
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

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The largest difference from the oracle, relative to the largest value of its row.
double expect_oracle(const PagedCase& c, const PagedData& data, const std::vector<float>& got, const std::vector<Span>& spans,
                     double tolerance) {
  std::size_t i = 0;
  double worst = 0.0;
  for (const Span& span : spans) {
    for (std::int64_t p = span.from; p < span.to; ++p) {
      for (const double want : test::attend_exactly(c, data, span.sequence, p)) {
        const double error = std::abs(static_cast<double>(got.at(i)) - want);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        if (!(error <= tolerance)) {
          ADD_FAILURE() << "sequence " << span.sequence << " position " << p << ": " << got[i] << " instead of " << want;
          return worst;
        }
        ++i;
      }
    }
  }
  EXPECT_EQ(i, got.size());
  return worst;
}

// Sixteen times the differences that were seen come close to these. f16 rounds queries and weights to 11 bits; bf16 makes them of
// two parts, 16 bits; f32 has 24 bits in three parts.
double tolerance(FloatType type) { return type == FloatType::f16 ? 3e-3 : type == FloatType::bf16 ? 4e-5 : 4e-6; }

TEST_F(PagedAttention, EqualsTheOracle) {
  for (const FloatType type : {FloatType::f16, FloatType::bf16, FloatType::f32})
    for (const std::int64_t head_dim : {64, 128, 256}) {
      SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type) << " head_dim " << head_dim);
      PagedCase c;
      c.head_dim = head_dim;
      c.type = type;
      c.lengths = {1, 17, 150};
      const PagedData data(c, rng);
      PagedCache cache(c, data, 1);
      const std::vector<float> prefill = cache.attend(whole(c));
      expect_oracle(c, data, prefill, whole(c), tolerance(type));
      const std::vector<float> decode = cache.attend(last(c));
      expect_oracle(c, data, decode, last(c), tolerance(type));
      const auto row = c.heads * c.head_dim;
      EXPECT_TRUE(same_bits({decode.end() - row, decode.end()}, {prefill.end() - row, prefill.end()}));
    }
}

}  // namespace
}  // namespace warploom
