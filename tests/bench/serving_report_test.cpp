// Every format says the same of the same results.
#include "bench/serving_report.h"

#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace warploom::bench {
namespace {

using testing::HasSubstr;

ServingReport example() {
  ServingResult slow;
  slow.rate = 2;
  slow.requests = 100, slow.good = 99;
  slow.seconds = 50, slow.prompt_tokens = 2000, slow.output_tokens = 1000;
  slow.ttft = {0.02, 0.0123, 0.03, 0.04, 0.05};
  slow.itl = {0.005, 0.0045, 0.006, 0.007, 0.1};
  slow.end_to_end = {1.5, 1.25, 2, 3, 4};
  slow.cached_prompt_tokens = 500;
  ServingResult fast = slow;
  fast.rate = INFINITY, fast.good = 10;
  fast.failures = {{"context_full", 3}};
  fast.preemptions = 7;
  return {{"a \"fast\" machine, new", 2, 16}, "cpu",       "model.gguf", {}, {{"requests", "100"}, {"seed", "1"}},
          {.ttft = 0.5, .itl = 0.05},         {slow, fast}};
}

TEST(ServingReport, TableAndMarkdownShowTheSame) {
  for (const char* format : {"table", "markdown"}) {
    const std::string text = render(example(), format);
    for (const char* part : {"a \"fast\" machine, new, 2 cores, 16 GiB; cpu; model.gguf", "requests 100, seed 1",
                             "TTFT up to 500 ms", "mean ITL up to 50 ms", "12.3", "4.5", "1.25", "20.0", "1.98", "99.0%",
                             "at once", "10.0%", "rate at once: 3 of 100 requests ended early: context_full",
                             "rate at once: 7 preemptions", "rate 2: 25.0% of the prompt tokens were in the prefix cache",
                             "knee: 2 requests/s, the highest rate at which 90% of the requests were good"})
      EXPECT_THAT(text, HasSubstr(part)) << format;
  }
  EXPECT_THAT(render(example(), "markdown"),
              HasSubstr("| 2 | 12.3 | 30.0 | 40.0 | 4.5 | 6.0 | 7.0 | 1.25 | 2.00 | 3.00 | 20.0 |"));
}

TEST(ServingReport, ModelledTimesAreCalledModelled) {
  ServingReport report = example();
  EXPECT_THAT(render(report, "table"), testing::Not(HasSubstr("modelled")));
  report.modelled_gpu = "h100";
  for (ServingResult& result : report.results) result.modelled = {200, 5000, 8e9, {1e-3, 9e-4, 2e-3, 3e-3, 4e-3}};
  for (const char* format : {"table", "markdown"})
    EXPECT_THAT(render(report, format), HasSubstr("every time is modelled for the h100")) << format;
  EXPECT_THAT(render(report, "markdown"), HasSubstr("| 2 | 200 | 25.0 | 40.0 | 900 | 2000 | 3000 |"));
  const auto all = nlohmann::json::parse(render(report, "json"));
  EXPECT_EQ(all["modelled_gpu"], "h100");
  EXPECT_EQ(all["results"][1]["modelled"]["steps"], 200);
  EXPECT_EQ(all["results"][1]["modelled"]["step_seconds"]["p99"], 3e-3);
  EXPECT_THAT(render(report, "csv"), HasSubstr(",\"cpu\",h100,"));
}

TEST(ServingReport, OneRateHasNoKnee) {
  ServingReport report = example();
  report.results.pop_back();
  EXPECT_THAT(render(report, "table"), testing::Not(HasSubstr("knee")));
}

TEST(ServingReport, JsonHasEverything) {
  const auto all = nlohmann::json::parse(render(example(), "json"));
  EXPECT_EQ(all["model"], "model.gguf");
  EXPECT_EQ(all["workload"]["requests"], "100");
  EXPECT_EQ(all["limits"]["itl_seconds"], 0.05);
  EXPECT_EQ(all["knee"], 2.0);
  EXPECT_EQ(all["results"][0]["ttft_seconds"]["p50"], 0.0123);
  EXPECT_EQ(all["results"][0]["goodput"], 1.98);
  EXPECT_TRUE(all["results"][1]["rate"].is_null());
  EXPECT_EQ(all["results"][1]["failures"]["context_full"], 3);
}

TEST(ServingReport, CsvIsOneTable) {
  std::istringstream lines(render(example(), "csv"));
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells(1);
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') quoted = !quoted;
      if (c == ',' && !quoted)
        cells.emplace_back();
      else
        cells.back() += c;
    }
    rows.push_back(cells);
  }
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& row : rows) ASSERT_EQ(row.size(), rows[0].size());
  const auto cell = [&](std::size_t row, const std::string& column) {
    for (std::size_t i = 0; i < rows[0].size(); ++i)
      if (rows[0][i] == column) return rows[row][i];
    return std::string("no such column");
  };
  EXPECT_EQ(cell(1, "cpu"), "\"a \"\"fast\"\" machine, new\"");
  EXPECT_EQ(cell(1, "rate"), "2");
  EXPECT_EQ(cell(2, "rate"), "");
  EXPECT_EQ(cell(2, "failed"), "3");
  EXPECT_EQ(cell(1, "ttft_p50_seconds"), "0.0123");
  EXPECT_EQ(cell(1, "end_to_end_max_seconds"), "4");
  EXPECT_EQ(cell(1, "output_tokens_per_second"), "20");
  EXPECT_EQ(cell(1, "goodput"), "1.98");
}

}  // namespace
}  // namespace warploom::bench
