// Damaged files: each opens and loads, or throws an Error that names the file. Nothing else, ever: run under sanitizers too.
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/generate.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

struct Outcome {
  int refused = 0, ran = 0;
};

// Loads and, where that works, generates: damaged weights must not crash either.
void try_file(const test::TemporaryModel& file, Outcome& outcome, const std::string& what) {
  try {
    inspect(file.path());
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(file.path().string())) << what;
  }
  std::shared_ptr<const Model> model;
  try {
    ModelOptions options;
    options.device.threads = 1;
    model = Model::load(file.path(), options);
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(file.path().string())) << what;
    ++outcome.refused;
    return;
  }
  const std::vector<std::vector<TokenId>> prompts = {{1, 2, 3}};
  test::Options options;
  options.max_tokens = 3;
  const test::Result g = test::generate(model, prompts, options).at(0);
  EXPECT_NE(g.finish_reason, FinishReason::running) << what;
  ++outcome.ran;
}

test::TinyModel small() {
  test::TinyModel m;
  m.type = WeightType::q8_0;
  m.dim = 64, m.ffn = 64, m.layers = 1, m.context = 64;
  return m;
}

TEST(Mutations, FlippedBytesAndInsertedNumbers) {
  const std::string good = test::tiny_model(small());
  const std::size_t header = good.find("blk.0.ffn_down.weight") + 64;
  const test::TemporaryModel file(good);
  std::mt19937_64 rng(20260101);
  Outcome outcome;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = good;
    for (std::uint64_t edits = 1 + rng() % 3; edits > 0; --edits) {
      const std::size_t at = rng() % (i % 8 == 0 ? bytes.size() : header);
      if (i % 2) {
        bytes[at] = static_cast<char>(rng());
      } else {
        // Lengths, counts and offsets at their limits.
        const std::uint64_t extremes[] = {
            0, 1, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~std::uint64_t{0}, bytes.size(), rng()};
        std::memcpy(bytes.data() + std::min(at, bytes.size() - 8), &extremes[rng() % 8], 8);
      }
    }
    file.write(bytes);
    try_file(file, outcome, "mutation " + std::to_string(i));
  }
  EXPECT_GT(outcome.refused, 300);
  EXPECT_GT(outcome.ran, 20);  // harmless ones: names of unknown keys, weights
}

TEST(Mutations, TruncationAnywhere) {
  const std::string good = test::tiny_model(small());
  const test::TemporaryModel file(good);
  Outcome outcome;
  const std::size_t header = good.find("blk.0.ffn_down.weight") + 64;
  for (std::size_t size = 1; size < good.size(); size += size < 64 ? 1 : size < header ? 97 : 4001) {
    file.write(good.substr(0, size));
    try_file(file, outcome, "cut to " + std::to_string(size));
  }
  EXPECT_EQ(outcome.ran, 0);
  EXPECT_GT(outcome.refused, 100);
}

TEST(Mutations, ShapesThatContradictTheMetadata) {
  const auto refused = [](test::TinyModel m, auto change) {
    change(m);
    const test::TemporaryModel file(test::tiny_model(m));
    EXPECT_THROW(Model::load(file.path()), ModelError);
  };
  refused(small(), [](auto& m) { m.architecture = "mamba"; });
  refused(small(), [](auto& m) { m.heads = 3; });
  refused(small(), [](auto& m) { m.dim = 60; });  // heads 15 wide
}

}  // namespace
}  // namespace warploom
