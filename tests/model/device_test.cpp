// Which device a model is on, and why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda_module.h"
#include "support/tiny_model.h"
#include "warploom/model.h"

namespace warploom {
namespace {

using testing::HasSubstr;

TEST(Device, TheCpuWhenAskedForNeedsNoReason) {
  const test::TemporaryModel file(test::tiny_model());
  ModelOptions options;
  options.device.kind = DeviceKind::cpu;
  const DeviceInfo device = Model::load(file.path(), options)->device();
  EXPECT_EQ(device.kind, DeviceKind::cpu);
  EXPECT_THAT(device.description, HasSubstr("cpu: "));
  EXPECT_EQ(device.cuda_unavailable, "");
}

TEST(Device, AutoTakesCudaOrSaysWhyNot) {
  const test::TemporaryModel file(test::tiny_model());
  const DeviceInfo device = Model::load(file.path())->device();
  const bool fell_back = device.kind == DeviceKind::cpu && has_cuda_driver();
  EXPECT_EQ(device.cuda_unavailable.empty(), !fell_back) << device.cuda_unavailable;
}

TEST(CudaModule, OfAnotherReleaseOrInterfaceIsRefused) {
  EXPECT_EQ(misfit_of({}), "");
  const auto refused = [](auto change) {
    CudaModule module;
    change(module);
    EXPECT_THAT(misfit_of(module), HasSubstr("build or install both together"));
  };
  refused([](CudaModule& m) { ++m.major; });
  refused([](CudaModule& m) { ++m.minor; });
  refused([](CudaModule& m) { ++m.patch; });
  refused([](CudaModule& m) { ++m.abi; });
}

}  // namespace
}  // namespace warploom
