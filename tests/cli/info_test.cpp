#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"
#include "support/tiny_model.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

using testing::HasSubstr;

TEST(InfoCommand, ListsMetadataTensorsAndMemory) {
  const auto got = test::run_warploom({"info", test::model_path()});
  ASSERT_EQ(got.status, 0) << got.err;
  const CheckpointInfo info = inspect(test::model_path());
  for (const CheckpointEntry& entry : info.metadata) EXPECT_THAT(got.out, HasSubstr(entry.key));
  for (const CheckpointTensor& tensor : info.tensors) EXPECT_THAT(got.out, HasSubstr(tensor.name));
  const ModelMemory memory = Model::load(test::model_path())->memory();
  EXPECT_THAT(got.out, HasSubstr(std::to_string(memory.kv_per_token / 1000) + "."));
  EXPECT_THAT(got.out, HasSubstr("full context of 8192"));
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
