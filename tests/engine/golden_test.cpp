// What is on record comes out again, on every instruction set, alone and in a crowd, roomy and preempted.
#include <gtest/gtest.h>

#include "support/golden.h"

namespace warploom {
namespace {

std::shared_ptr<const Model> load(CpuIsa isa, int threads) {
  const test::TemporaryModel file(test::tiny_model());
  ModelOptions options;
  options.device.threads = threads;
  options.device.isa = isa;
  return Model::load(file.path(), options);
}

class Golden : public testing::TestWithParam<CpuIsa> {};

TEST_P(Golden, EachRequestAlone) {
  const auto model = load(GetParam(), 2);
  std::vector<std::string> hashes;
  std::size_t tokens = 0;
  for (const test::GoldenRequest& request : test::golden_requests()) {
    const auto generations = generate(model, {&request.prompt, 1}, request.options);
    for (const Generation& generation : generations) tokens += generation.ids.size();
    hashes.push_back(test::golden_hash(generations));
  }
  EXPECT_GE(tokens, 2000u);
  EXPECT_EQ(hashes, test::golden_record("cpu")) << nlohmann::json(hashes).dump();
}

TEST_P(Golden, InAPoolTooSmallForTheContinuationsAndWithPrefixesKept) {
  const auto model = load(GetParam(), 1);
  std::vector<std::string> small, kept;
  const auto cache = std::make_shared<PrefixCache>(model, 512);
  for (test::GoldenRequest request : test::golden_requests()) {
    request.options.kv_cache_tokens = static_cast<std::int64_t>(request.prompt.size()) + 80;
    request.options.max_num_batched_tokens = 19;
    small.push_back(test::golden_hash(generate(model, {&request.prompt, 1}, request.options)));
    request.options.kv_cache_tokens = 0;
    request.options.prefix_cache = cache;
    kept.push_back(test::golden_hash(generate(model, {&request.prompt, 1}, request.options)));
  }
  EXPECT_EQ(small, test::golden_record("cpu"));
  EXPECT_EQ(kept, test::golden_record("cpu"));
}

INSTANTIATE_TEST_SUITE_P(Isas, Golden, testing::ValuesIn(available_cpu_isas()),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace warploom
