// What is on record comes out of the CUDA backend again.
#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "support/golden.h"

namespace warploom {
namespace {

TEST(CudaGolden, EachRequestAlone) {
  const test::TemporaryModel file(test::tiny_model());
  ModelOptions options;
  options.device = test::cuda_options();
  options.device.cuda.deterministic = true;
  const auto model = Model::load(file.path(), options);
  std::vector<std::string> hashes;
  for (const test::GoldenRequest& request : test::golden_requests())
    hashes.push_back(test::golden_hash(generate(model, {&request.prompt, 1}, request.options)));
  EXPECT_EQ(hashes, test::golden_record("cuda")) << nlohmann::json(hashes).dump();
}

}  // namespace
}  // namespace warploom
