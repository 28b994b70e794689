// What is on record comes out again, on every instruction set, alone and in a crowd, roomy and preempted.
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/sanitized.h"

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

std::vector<std::string> hashes_of(const std::vector<RequestOutput>& outputs) {
  std::vector<std::string> hashes;
  for (const RequestOutput& output : outputs) hashes.push_back(test::golden_hash(output));
  return hashes;
}

TEST_P(Golden, EachRequestAlone) {
  const auto model = load(GetParam(), 2);
  std::vector<RequestOutput> outputs;
  std::size_t tokens = 0;
  for (const Request& request : test::golden_requests()) outputs.push_back(generate(model, request));
  for (const RequestOutput& output : outputs)
    for (const Completion& completion : output.completions) tokens += completion.token_ids.size();
  EXPECT_GE(tokens, 2000u);
  EXPECT_EQ(hashes_of(outputs), test::golden_record("cpu"));
}

// All of them in one call, in caches from one that preempts all the time to plenty, with and without prefix caching, in large steps
// and small ones; then once more on what the cache holds.
TEST_P(Golden, AllAtOnce) {
  const auto model = load(GetParam(), 1);
  const std::vector<Request> requests = test::golden_requests();
  for (const std::int64_t kv_cache_tokens : {256, 700, 0})
    for (const bool prefix_caching : {false, true}) {
      if (GetParam() == CpuIsa::generic && (kv_cache_tokens != 256 || !prefix_caching)) continue;  // it is slow
      EngineOptions options;
      options.kv_cache_tokens = kv_cache_tokens;
      options.enable_prefix_caching = prefix_caching;
      options.max_num_batched_tokens = kv_cache_tokens == 700 ? 19 : 512;
      options.max_num_seqs = kv_cache_tokens == 0 ? 64 : 12;
      Generator generator(model, options);
      for (int call = 0; call < 2; ++call)
        EXPECT_EQ(hashes_of(generator.generate(requests)), test::golden_record("cpu"))
            << kv_cache_tokens << " call " << call;
    }
}

// With other keys and values nothing is on record: alone with the best instruction set is what all others must give.
void expect_same_everywhere(CpuIsa isa, DType kv_type) {
  const std::vector<Request> requests = test::golden_requests();
  EngineOptions options;
  options.kv_type = kv_type;
  std::vector<RequestOutput> alone;
  const auto best = load(CpuIsa::automatic, 2);
  for (const Request& request : requests) alone.push_back(generate(best, request, options));
  const std::vector<std::string> want = hashes_of(alone);
  EXPECT_NE(want, test::golden_record("cpu"));
  const auto model = load(isa, 1);
  for (const std::int64_t kv_cache_tokens : {256, 0}) {
    if (isa == CpuIsa::generic && kv_cache_tokens != 256) continue;  // it is slow
    options.kv_cache_tokens = kv_cache_tokens;
    options.max_num_seqs = kv_cache_tokens == 0 ? 64 : 12;
    Generator generator(model, options);
    for (int call = 0; call < 2; ++call)
      EXPECT_EQ(hashes_of(generator.generate(requests)), want) << kv_cache_tokens << " call " << call;
  }
}

TEST_P(Golden, CachesInBf16) { expect_same_everywhere(GetParam(), DType::bf16); }
TEST_P(Golden, CachesInInt8) { expect_same_everywhere(GetParam(), DType::int8); }

INSTANTIATE_TEST_SUITE_P(Isas, Golden, testing::ValuesIn(test::isas_for_models()),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace warploom
