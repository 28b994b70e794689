#include "cli/generate_report.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace warploom::cli {
namespace {

// Interrupted while most of a batch still waited.
TEST(GenerateReport, SequencesWithoutTokensTakeNoneFromTheSpeed) {
  std::vector<RequestOutput> all(6);
  for (RequestOutput& output : all) {
    output.prompt_token_ids = {1, 2, 3};
    output.completions.resize(1);
    output.completions[0].finish_reason = FinishReason::cancelled;
  }
  all[0].completions[0].token_ids = {4, 5, 6};
  all[0].completions[0].timings.decode_seconds = 0.5;
  testing::internal::CaptureStderr();
  print_summary(all, {});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("3 generated at 4.0 tokens/s"));
}

}  // namespace
}  // namespace warploom::cli
