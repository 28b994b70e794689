// Files that change while they are read, and a load that is called off.
#include <filesystem>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/gguf.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/model.h"

namespace warploom {
namespace {

using testing::HasSubstr;

ModelOptions with_progress(std::function<void(double)> progress) {
  ModelOptions options;
  options.device.kind = DeviceKind::cpu;
  options.progress = std::move(progress);
  return options;
}

TEST(ChangingFile, OneThatIsShortenedDuringALoadIsAnError) {
  const test::TemporaryModel file(test::tiny_model());
  const auto size = std::filesystem::file_size(file.path());
  for (const std::uintmax_t left : {size / 2, size / 8, std::uintmax_t{1}, std::uintmax_t{0}}) {
    file.write(test::tiny_model());
    const auto shorten = [&](double) { std::filesystem::resize_file(file.path(), left); };
    try {
      static_cast<void>(Model::load(file.path(), with_progress(shorten)));
      ADD_FAILURE() << left << " bytes were enough";
    } catch (const ModelError& error) {
      EXPECT_THAT(error.what(), HasSubstr(file.path().string()));
      EXPECT_THAT(error.what(), HasSubstr("has " + std::to_string(left) + " bytes, but had " + std::to_string(size)));
    }
  }
}

TEST(ChangingFile, WhatWasReadOfItStays) {
  const test::TemporaryModel file(test::tiny_model());
  const GgufFile gguf(file.path());
  std::filesystem::resize_file(file.path(), 0);
  EXPECT_EQ(gguf.need_string("general.architecture"), "llama");
  EXPECT_EQ(gguf.get_strings("tokenizer.ggml.tokens")->at(259), "the");
  const WeightView view = gguf.matrix("blk.1.ffn_down.weight");
  EXPECT_EQ(view.data, nullptr);
  std::vector<std::byte> bytes(view.bytes());
  EXPECT_THROW(gguf.read(view, 0, view.rows, bytes.data()), ModelError);
}

TEST(ChangingFile, OneThatIsReplacedOrDeletedIsReadToItsEnd) {
  const test::TemporaryModel file(test::tiny_model());
  bool gone = false;
  const auto model =
      Model::load(file.path(), with_progress([&](double) { gone = std::filesystem::remove(file.path()) || gone; }));
  EXPECT_TRUE(gone);
  EXPECT_EQ(model->shape().num_layers, 2);
}

TEST(Load, ProgressRisesToOneAndCanCallItOff) {
  test::TinyModel shape;
  shape.biases = true;
  const test::TemporaryModel file(test::tiny_model(shape));
  std::vector<double> shares;
  static_cast<void>(Model::load(file.path(), with_progress([&](double share) { shares.push_back(share); })));
  EXPECT_TRUE(std::ranges::is_sorted(shares));
  ASSERT_GT(shares.size(), 10u);
  EXPECT_DOUBLE_EQ(shares.back(), 1.0);

  struct CalledOff {};
  int calls = 0;
  EXPECT_THROW(static_cast<void>(Model::load(file.path(), with_progress([&](double) {
                                               if (++calls == 3) throw CalledOff();
                                             }))),
               CalledOff);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace warploom
