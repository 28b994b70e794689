// Latencies, goodput and the knee, from times that are known.
#include "bench/serving_result.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace warploom::bench {
namespace {

TEST(ServingResult, PercentilesAreInterpolated) {
  const Percentiles p = percentiles({3, 1, 2, 4, 5});  // numpy.percentile gives the same
  EXPECT_DOUBLE_EQ(p.mean, 3);
  EXPECT_DOUBLE_EQ(p.p50, 3);
  EXPECT_DOUBLE_EQ(p.p90, 4.6);
  EXPECT_DOUBLE_EQ(p.p99, 4.96);
  EXPECT_DOUBLE_EQ(p.max, 5);
  EXPECT_DOUBLE_EQ(percentiles({7}).p99, 7);
  EXPECT_DOUBLE_EQ(percentiles({}).p99, 0);
}

TEST(ServingResult, CountsWhatWasMeasured) {
  const std::vector<RequestRecord> records = {{0.0, 10, {0.5, 0.6, 0.7}, ""},       // good
                                              {1.0, 20, {2.5, 2.6}, ""},            // its first token is late
                                              {2.0, 30, {2.1, 2.2, 2.8}, ""},       // 0.35 s between tokens, on average
                                              {3.0, 40, {3.1}, ""},                 // good: one token has no neighbour
                                              {3.5, 50, {3.6, 4.0}, "cancelled"}};  // its tokens count, its latencies do not
  const ServingResult r = summarise(records, 2.0, {.ttft = 1.0, .itl = 0.2});
  EXPECT_EQ(r.requests, 5);
  EXPECT_EQ(r.good, 2);
  EXPECT_EQ(r.failures, (std::map<std::string, std::int64_t>{{"cancelled", 1}}));
  EXPECT_DOUBLE_EQ(r.seconds, 4.0);
  EXPECT_EQ(r.prompt_tokens, 150);
  EXPECT_EQ(r.output_tokens, 11);
  EXPECT_DOUBLE_EQ(r.ttft.max, 1.5);
  EXPECT_NEAR(r.ttft.mean, (0.5 + 1.5 + 0.1 + 0.1) / 4, 1e-12);
  EXPECT_NEAR(r.itl.mean, (0.1 + 0.1 + 0.1 + 0.1 + 0.6) / 5, 1e-12);
  EXPECT_NEAR(r.end_to_end.max, 1.6, 1e-12);
  EXPECT_DOUBLE_EQ(r.requests_per_second(), 1.0);
  EXPECT_DOUBLE_EQ(r.output_tokens_per_second(), 11.0 / 4);
  EXPECT_DOUBLE_EQ(r.goodput(), 2.0 * 2 / 5);
  const ServingResult at_once = summarise(records, std::numeric_limits<double>::infinity(), {.ttft = 1.0, .itl = 0.2});
  EXPECT_DOUBLE_EQ(at_once.goodput(), 2.0 / 4);
}

TEST(ServingResult, NothingMeasuredIsNoDivisionByZero) {
  const std::vector<RequestRecord> records = {{0.0, 10, {}, "error"}};
  const ServingResult r = summarise(records, 1.0, {});
  EXPECT_EQ(r.output_tokens_per_second(), 0);
  EXPECT_EQ(r.requests_per_second(), 0);
  EXPECT_EQ(r.goodput(), 0);
}

// Of a service that sustains rates up to `capacity`.
struct Service {
  double capacity;
  std::vector<double> asked;
  ServingResult operator()(double rate) {
    asked.push_back(rate);
    ServingResult r;
    r.rate = rate;
    r.requests = 100;
    r.good = rate <= capacity ? 95 : 40;
    return r;
  }
};

TEST(Knee, IsFoundToTenPercentFromAnyStart) {
  for (const double capacity : {0.3, 1.0, 7.3, 100.0, 900.0})
    for (const double start : {1.0, 5.0}) {
      Service service{capacity, {}};
      const std::vector<ServingResult> results = find_knee(start, std::ref(service));
      const std::optional<double> found = knee(results);
      ASSERT_TRUE(found) << capacity;
      EXPECT_LE(*found, capacity);
      EXPECT_GT(*found, capacity / 1.1);
      EXPECT_LE(service.asked.size(), 16u);
      EXPECT_TRUE(std::is_sorted(results.begin(), results.end(), [](auto& a, auto& b) { return a.rate < b.rate; }));
    }
}

TEST(Knee, TheSearchEndsWhereThereIsNone) {
  Service none{0, {}}, endless{INFINITY, {}};
  EXPECT_FALSE(knee(find_knee(1, std::ref(none))));
  EXPECT_LE(none.asked.size(), 9u);
  EXPECT_EQ(knee(find_knee(1, std::ref(endless))), 65536);
}

// A rate that passes by luck above one that fails is no knee.
TEST(Knee, LiesBelowTheFirstFailure) {
  const auto at = [](double rate, std::int64_t good) {
    ServingResult r;
    r.rate = rate, r.requests = 100, r.good = good;
    return r;
  };
  EXPECT_EQ(knee(std::vector{at(1, 100), at(2, 90), at(4, 89), at(8, 95)}), 2);
  EXPECT_EQ(knee(std::vector{at(8, 95), at(4, 90)}), 8);
  EXPECT_FALSE(knee(std::vector{at(1, 50), at(2, 95)}));
  EXPECT_FALSE(knee(std::vector{at(INFINITY, 100)}));
}

}  // namespace
}  // namespace warploom::bench
