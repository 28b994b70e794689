// What is on record comes out of the CUDA backend again.
#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "support/golden.h"

namespace warploom {
namespace {

TEST(CudaGolden, AloneAndAllAtOnce) {
  const test::TemporaryModel file(test::tiny_model());
  ModelOptions options;
  options.device = test::cuda_options();
  options.device.cuda.deterministic = true;
  const auto model = Model::load(file.path(), options);
  const std::vector<Request> requests = test::golden_requests();
  const auto hashes_of = [](const std::vector<RequestOutput>& outputs) {
    std::vector<std::string> hashes;
    for (const RequestOutput& output : outputs) hashes.push_back(test::golden_hash(output));
    return hashes;
  };
  std::vector<RequestOutput> alone;
  for (const Request& request : requests) alone.push_back(generate(model, request));
  EXPECT_EQ(hashes_of(alone), test::golden_record("cuda"));
  EngineOptions tight;
  tight.kv_cache_tokens = 500;  // sequences are preempted
  tight.max_num_seqs = 16;
  Generator generator(model, tight);
  EXPECT_EQ(hashes_of(generator.generate(requests)), test::golden_record("cuda"));
}

}  // namespace
}  // namespace warploom
