// What is on record comes out of the CUDA backend again, and a crowd gives what each gives alone.
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "emulator/emulator.h"
#include "support/golden.h"

namespace warploom {
namespace {

// The record is of the emulated A100. Log-probabilities have other last bits where tensor cores cut sums off elsewhere, or exponentials are
// approximated.
bool is_recorded() {
  const char* device = std::getenv("WARPLOOM_EMULATOR_DEVICE");
  return warploom_emulator_calls != nullptr && (device == nullptr || *device == '\0' || device == std::string("a100"));
}

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
  if (is_recorded()) {
    EXPECT_EQ(hashes_of(alone), test::golden_record("cuda"));
  }
  EngineOptions tight;
  tight.kv_cache_tokens = 500;  // sequences are preempted
  tight.max_num_seqs = 16;
  Generator generator(model, tight);
  EXPECT_EQ(hashes_of(generator.generate(requests)), hashes_of(alone));
}

}  // namespace
}  // namespace warploom
