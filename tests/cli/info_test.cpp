#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"
#include "warploom/model.h"

namespace warploom {
namespace {

using testing::HasSubstr;

TEST(InfoCommand, ListsMetadataTensorsAndMemory) {
  const auto got = test::run_warploom({"info", test::model_path()});
  ASSERT_EQ(got.status, 0) << got.err;
  const FileInfo info = inspect(test::model_path());
  for (const FileEntry& entry : info.metadata) EXPECT_THAT(got.out, HasSubstr(entry.key));
  for (const FileTensor& tensor : info.tensors) EXPECT_THAT(got.out, HasSubstr(tensor.name));
  const ModelMemory memory = Model::load(test::model_path())->memory();
  EXPECT_THAT(got.out, HasSubstr(std::to_string(memory.kv_per_token / 1000) + "."));
  EXPECT_THAT(got.out, HasSubstr("full context of 8192"));
}

}  // namespace
}  // namespace warploom
