#include "cuda/runtime/gpu.h"

#include <fmt/format.h>

#include "core/without_gpu.h"
#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr int kLeastMajor = 8;          // of the compute capability, below which there are no kernels
constexpr const char* kDriver = "580";  // NVIDIA's first release with CUDA 13

std::string version(int cuda) { return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10); }

std::string what_is_wrong(const GpuFacts& facts) {
  if (facts.error == cudaErrorInsufficientDriver)
    return facts.driver == 0
               ? fmt::format("NVIDIA's driver is not installed; CUDA 13 takes release {} or later", kDriver)
               : fmt::format(
                     "NVIDIA's driver is too old: it knows CUDA {}; CUDA 13 takes release {} or later (nvidia-smi says "
                     "which one is installed)",
                     version(facts.driver), kDriver);
  if (facts.error == cudaErrorNoDevice || (facts.error == cudaSuccess && facts.gpus == 0))
    return "NVIDIA's driver finds no GPU (nvidia-smi lists what it finds; CUDA_VISIBLE_DEVICES may hide some)";
  if (facts.error != cudaSuccess)
    return fmt::format("CUDA does not start: {} ({}); nvidia-smi may say more", cudaGetErrorName(facts.error),
                       cudaGetErrorString(facts.error));
  if (facts.gpu < 0 || facts.gpu >= facts.gpus)
    throw InvalidArgument(fmt::format("gpu is {}; this machine has {}, counted from 0", facts.gpu, facts.gpus));
  if (facts.major < kLeastMajor)
    return fmt::format("GPU {} ({}) is of compute capability {}.{}; the kernels take {}.0 (A100) or later", facts.gpu,
                       facts.name, facts.major, facts.minor, kLeastMajor);
  return {};
}

}  // namespace

std::string why_unusable(const GpuFacts& facts) {
  const std::string wrong = what_is_wrong(facts);
  return wrong.empty() ? wrong : fmt::format("no GPU can be used: {}. {}", wrong, kWithoutGpu);
}

std::string why_unusable(int gpu) {
  GpuFacts facts;
  facts.gpu = gpu;
  facts.error = cudaGetDeviceCount(&facts.gpus);
  if (facts.error != cudaSuccess) static_cast<void>(cudaGetLastError());  // taken back from the runtime
  if (facts.error == cudaErrorInsufficientDriver) static_cast<void>(cudaDriverGetVersion(&facts.driver));
  if (facts.error == cudaSuccess && gpu >= 0 && gpu < facts.gpus) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, gpu), "asking what the GPU is");
    facts.name = properties.name;
    facts.major = properties.major;
    facts.minor = properties.minor;
  }
  return why_unusable(facts);
}

}  // namespace warploom::cuda
