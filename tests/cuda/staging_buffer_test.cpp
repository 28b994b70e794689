// Steps that cannot be captured: they run as they are, and leave no error and no capture behind.
#include "cuda/backend/staging_buffer.h"

#include <gtest/gtest.h>

#include "cuda/guarded_array.h"
#include "cuda/runtime/check.h"
#include "emulator/emulator.h"

namespace warploom {
namespace {

class CudaStagingBufferTest : public testing::Test {
 protected:
  void TearDown() override {
    if (warploom_emulator_inject != nullptr) warploom_emulator_inject("*", 0, 0);
  }

  bool capturing() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    test::throw_on_cuda_error(cudaStreamIsCapturing(stream_.get(), &status));
    return status != cudaStreamCaptureStatusNone;
  }
  /// A step that brings its input back. `in_capture` is called when it is captured.
  void expect_echo(char value, const std::function<void()>& in_capture,
                   const std::function<void(bool)>& set_dependent = nullptr) {
    *reinterpret_cast<char*>(in_.host()) = value;
    *reinterpret_cast<char*>(out_.host()) = 0;
    const auto launch = [&] {
      cuda::check(cudaMemcpyAsync(out_.device(), in_.device(), 1, cudaMemcpyDeviceToDevice, stream_.get()), "a copy");
      if (!capturing()) return;
      ++captures_;
      in_capture();
    };
    in_.run_captured({1, out_.host(), out_.device(), 1}, {}, stream_.get(), launch, set_dependent);
    EXPECT_FALSE(capturing());
    EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
    test::throw_on_cuda_error(cudaStreamSynchronize(stream_.get()));
    EXPECT_EQ(*reinterpret_cast<const char*>(out_.host()), value);
  }

  cuda::Stream stream_ = cuda::create_stream();
  cuda::CudaStagingBuffer in_{16}, out_{16};
  int captures_ = 0;
};

TEST_F(CudaStagingBufferTest, AnOpThatCannotBeCapturedRunsAsItIs) {
  const auto query = [&] { cuda::check(cudaStreamQuery(stream_.get()), "a query"); };
  for (char value = 1; value <= 5; ++value) expect_echo(value, query);
  EXPECT_EQ(captures_, 1) << "it is remembered";
}

TEST_F(CudaStagingBufferTest, ACaptureThatBreaksRunsAsItIs) {
  const auto query = [&] { static_cast<void>(cudaStreamQuery(stream_.get())); };
  for (char value = 1; value <= 5; ++value) expect_echo(value, query);
  EXPECT_EQ(captures_, 1) << "it is remembered";
}

TEST_F(CudaStagingBufferTest, ARefusedCaptureIsTriedWithoutDependentLaunches) {
  bool dependent = true;
  const auto set_dependent = [&](bool now) { dependent = now; };
  const auto refuse = [&] {
    if (dependent) cuda::check(cudaErrorInvalidResourceHandle, "a dependent launch");
  };
  for (char value = 1; value <= 5; ++value) {
    expect_echo(value, refuse, set_dependent);
    EXPECT_TRUE(dependent);
  }
  EXPECT_EQ(captures_, 2) << "then it is replayed";
}

TEST_F(CudaStagingBufferTest, ACaptureThatIsRefusedEitherWayIsNotTriedAgain) {
  bool dependent = true;
  const auto refuse = [] { cuda::check(cudaErrorInvalidResourceHandle, "any launch"); };
  for (char value = 1; value <= 5; ++value) expect_echo(value, refuse, [&](bool now) { dependent = now; });
  EXPECT_TRUE(dependent);
  EXPECT_EQ(captures_, 2) << "it is remembered";
}

TEST_F(CudaStagingBufferTest, MemoryThatRanOutMayBeThereLater) {
  if (warploom_emulator_inject == nullptr) GTEST_SKIP() << "only the emulator runs out of memory on demand";
  for (char value = 1; value <= 6; ++value) {
    if (value == 2) warploom_emulator_inject("cudaGraphInstantiate", 1, cudaErrorMemoryAllocation);
    expect_echo(value, [] {});
  }
  EXPECT_EQ(captures_, 2);
}

TEST_F(CudaStagingBufferTest, AFaultOfTheDeviceIsTold) {
  expect_echo(1, [] {});
  const auto fault = [] { throw cuda::DeviceFault("the device failed"); };
  EXPECT_THROW(expect_echo(2, fault), cuda::DeviceFault);
  EXPECT_FALSE(capturing());
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

}  // namespace
}  // namespace warploom
