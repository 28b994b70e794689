#include <cstdio>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"
#include "support/tiny_model.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The line of `text` that begins with `start`, its runs of spaces reduced to one.
std::string line_of(const std::string& text, const std::string& start) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::string words;
    std::istringstream rest(line);
    for (std::string word; rest >> word;) words += words.empty() ? word : " " + word;
    if (words.starts_with(start)) return words;
  }
  return "";
}

std::string megabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", bytes / 1e6);
  return text;
}

TEST(InfoCommand, ListsMetadataTensorsAndMemory) {
  const auto got = test::run_warploom({"info", test::model_path()});
  ASSERT_EQ(got.status, 0) << got.err;
  const CheckpointInfo info = inspect(test::model_path());
  ASSERT_FALSE(info.metadata.empty());
  for (const CheckpointEntry& entry : info.metadata) EXPECT_NE(line_of(got.out, entry.key + " "), "") << entry.key;
  // Of the model card of SmolLM2-135M.
  EXPECT_EQ(line_of(got.out, "llama.block_count "), "llama.block_count 30");
  EXPECT_EQ(line_of(got.out, "llama.embedding_length "), "llama.embedding_length 576");
  EXPECT_EQ(line_of(got.out, "general.architecture "), "general.architecture llama");
  double weights = 0;
  ASSERT_FALSE(info.tensors.empty());
  for (const CheckpointTensor& tensor : info.tensors) {
    weights += static_cast<double>(tensor.bytes);
    const std::string line = line_of(got.out, tensor.name + " ");
    EXPECT_THAT(line, StartsWith(tensor.name + " " + std::string(tensor.type) + " [" + std::to_string(tensor.shape.at(0))));
  }
  // 49,152 x 576 of 8.5 bits a number; 576 of 32 bits.
  EXPECT_EQ(line_of(got.out, "token_embd.weight "), "token_embd.weight Q8_0 [49152, 576] 30.1 MB");
  EXPECT_EQ(line_of(got.out, "output_norm.weight "), "output_norm.weight F32 [576] 2304 B");
  EXPECT_EQ(line_of(got.out, "weights "), "weights " + megabytes(weights));
  // 30 layers, 3 heads of 64, keys and values of 2 bytes: 23,040 bytes, which is what a loaded model takes.
  const ModelShape shape = Model::load(test::model_path())->shape();
  EXPECT_EQ(shape.kv_bytes_per_token(DType::f16), 23040);
  EXPECT_EQ(shape.kv_bytes_per_token(DType::int8), 30 * 3 * (2 * 64 + 3 * 4));  // two scales of a key, one of a value
  EXPECT_EQ(line_of(got.out, "KV cache (f16) "), "KV cache (f16) 23.0 kB a token, 188.7 MB for a full context of 8192");
}

TEST(InfoCommand, NamesTheDeviceThatWouldRun) {
  const test::TemporaryModel file(test::tiny_model());
  const auto device = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"info", file.path().string()});
    const auto got = test::run_warploom(options);
    EXPECT_EQ(got.status, 0) << got.err;
    const std::size_t at = got.out.find("\ndevice\n  ");
    return at == std::string::npos ? "" : got.out.substr(at + 10, got.out.find('\n', at + 10) - at - 10);
  };
  EXPECT_EQ(device({}), Model::load(file.path())->device().description);
  EXPECT_EQ(device({"--device", "cpu", "--threads", "3", "--isa", "generic"}), "cpu: generic, 3 threads");
}

TEST(InfoCommand, AFileCannotSteerTheTerminal) {
  test::TinyModel model;
  model.architecture = "llama\x1b]0;title\x07\x1b[2J";
  const test::TemporaryModel file(test::tiny_model(model));
  const auto got = test::run_warploom({"info", file.path()});
  ASSERT_EQ(got.status, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("llama ]0;title  [2J.block_count"));
  EXPECT_THAT(got.out, testing::Not(HasSubstr("\x1b")));
  const auto refused = test::run_warploom({"generate", "x", "-m", file.path()});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("llama ]0;title  [2J"));
  EXPECT_THAT(refused.err, testing::Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace warploom
