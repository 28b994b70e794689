// The most memory that generating from the real model takes.
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/sanitized.h"

namespace warploom {
namespace {

double peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024.0 * std::stod(line.substr(6));
  throw std::runtime_error("/proc/self/status has no VmHWM");
}

TEST(Memory, PeakIsUnderOneAndAHalfTimesTheFileAndTheCache) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  const std::string path = WARPLOOM_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing: scripts/test fetches it";
  const auto model = Model::load(path);
  std::string prompt;
  for (int i = 0; i < 100; ++i) prompt += "The quick brown fox jumps over the lazy dog. ";
  Request request;
  request.prompt = prompt;
  request.max_tokens = 64;
  request.ignore_eos = true;
  generate(model, request);
  const double cache = static_cast<double>(static_cast<std::int64_t>(model->tokenizer()->encode(prompt).size() + 64) *
                                           model->shape().kv_bytes_per_token(DType::f16));
  const double limit = 1.5 * static_cast<double>(std::filesystem::file_size(path)) + cache;
  RecordProperty("peak_mb", std::to_string(peak_resident_bytes() / 1e6));
  EXPECT_LT(peak_resident_bytes(), limit);
}

}  // namespace
}  // namespace warploom
