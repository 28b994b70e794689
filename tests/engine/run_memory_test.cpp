// Step buffers that grow, and that cannot.
#include "engine/run_memory.h"

#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom {
namespace {

class NoSession final : public ModelRunner {
 public:
  void run(const ModelInput&, KvCache&, std::span<const SamplingInput>, bool, std::span<SampleResult>) override {}
  void copy_block(KvCache&, std::int32_t, std::int32_t) override {}
  void download_logits(std::span<float>) override {}
  std::uint64_t bytes() const override { return 0; }
};

// An engine on a device that has room for `room` tokens times sequences.
struct SmallDevice {
  std::int64_t room;
  std::vector<BatchLimits> made;
  Engine engine() {
    Engine e;
    e.create_runner = [this](const BatchLimits& limits) -> std::unique_ptr<ModelRunner> {
      if (limits.max_tokens * limits.max_sequences > room) throw OutOfMemory("step buffers");
      made.push_back(limits);
      return std::make_unique<NoSession>();
    };
    return e;
  }
};

BatchLimits limits_of(std::int64_t tokens, std::int64_t sequences) {
  return {.max_tokens = tokens, .max_sequences = sequences};
}

TEST(RunMemory, MakesStepBuffersAnewOnlyWhereTheyAreTooSmall) {
  SmallDevice device{1000, {}};
  const Engine engine = device.engine();
  RunMemory memory;
  memory.fit_session(engine, limits_of(10, 2));
  memory.fit_session(engine, limits_of(10, 1));
  memory.fit_session(engine, limits_of(3, 2));
  EXPECT_EQ(device.made.size(), 1u);
  memory.fit_session(engine, limits_of(5, 20));
  ASSERT_EQ(device.made.size(), 2u);
  EXPECT_EQ(device.made[1].max_tokens, 10);
  EXPECT_EQ(device.made[1].max_sequences, 20);
}

TEST(RunMemory, WhatDoesNotFitFailsThatCallAlone) {
  SmallDevice device{1000, {}};
  const Engine engine = device.engine();
  RunMemory memory;
  memory.fit_session(engine, limits_of(100, 2));
  EXPECT_THROW(memory.fit_session(engine, limits_of(100, 20)), OutOfMemory);
  memory.fit_session(engine, limits_of(100, 2));
  memory.fit_session(engine, limits_of(10, 50));  // not with the 100 tokens of before
  ASSERT_EQ(device.made.size(), 3u);
  EXPECT_EQ(device.made[2].max_tokens, 10);
  memory.fit_session(engine, limits_of(10, 40));
  EXPECT_EQ(device.made.size(), 3u);
}

}  // namespace
}  // namespace warploom
