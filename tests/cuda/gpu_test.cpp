// Which GPU can be used, and what is said of those that cannot.
#include "cuda/runtime/gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom::cuda {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

GpuFacts usable() { return {cudaSuccess, 13000, 2, 1, "A GPU", 8, 0}; }

TEST(Gpu, ThatCanBeUsedNeedsNoText) {
  EXPECT_EQ(why_unusable(usable()), "");
  EXPECT_EQ(why_unusable(0), "");
}

TEST(Gpu, ThatCannotBeUsedSaysWhyAndWhatToDo) {
  struct Case {
    void (*change)(GpuFacts&);
    const char* says;
  };
  for (const Case& c : {Case{[](GpuFacts& f) { f.error = cudaErrorInsufficientDriver, f.driver = 0; },
                             "driver is not installed; CUDA 13 takes"},
                        Case{[](GpuFacts& f) { f.error = cudaErrorInsufficientDriver, f.driver = 12040; },
                             "too old: it knows CUDA 12.4; CUDA 13"},
                        Case{[](GpuFacts& f) { f.error = cudaErrorNoDevice; }, "finds no GPU"},
                        Case{[](GpuFacts& f) { f.gpus = 0; }, "finds no GPU"},
                        Case{[](GpuFacts& f) { f.error = cudaErrorSystemNotReady; }, "cudaErrorSystemNotReady"},
                        Case{[](GpuFacts& f) { f.major = 7, f.minor = 5; },
                             "GPU 1 (A GPU) is of compute capability 7.5; the kernels take 8.0 (A100) or later"}}) {
    GpuFacts facts = usable();
    c.change(facts);
    const std::string why = why_unusable(facts);
    EXPECT_THAT(why, StartsWith("no GPU can be used: "));
    EXPECT_THAT(why, HasSubstr(c.says));
    EXPECT_THAT(
        why,
        EndsWith("choose the CPU (--device cpu); tools/gpu_emulator/README.md says how to run CUDA code on an emulator"));
  }
}

TEST(Gpu, OfANumberThatIsNotThereIsAMistake) {
  for (const int gpu : {-1, 2}) {
    GpuFacts facts = usable();
    facts.gpu = gpu;
    EXPECT_THROW(why_unusable(facts), InvalidArgument);
  }
  EXPECT_THROW(why_unusable(-1), InvalidArgument);
  EXPECT_THROW(why_unusable(1000), InvalidArgument);
}

}  // namespace
}  // namespace warploom::cuda
