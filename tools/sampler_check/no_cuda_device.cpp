// In place of cuda_device.cpp where the program is built without the CUDA kernels.
#include <fmt/format.h>

#include "core/without_gpu.h"
#include "tools/sampler_check/devices.h"
#include "warploom/error.h"

namespace warploom::sampler_check {

std::optional<std::string> cuda_missing() {
  return fmt::format(
      "this program was built without the CUDA kernels: configure with -D WARPLOOM_CUDA=ON where nvcc of CUDA 13 is found "
      "(WARPLOOM_NVCC can name one). {}",
      kWithoutGpu);
}

Device cuda_device() { throw BackendError(*cuda_missing()); }

}  // namespace warploom::sampler_check
