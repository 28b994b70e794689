// A program linked with the toolkit's runtime: exits 0 where its kernel ran. An argument says that it is the stand-in that runs it.
#include <cstdio>

#include "emulator/emulator.h"

namespace {

__global__ void square_kernel(int* p) { p[threadIdx.x] = threadIdx.x * threadIdx.x; }

}  // namespace

int main(int argc, char**) {
  int host[40], *device = nullptr;
  if (cudaMalloc(&device, sizeof host) != cudaSuccess) return 1;
  square_kernel<<<1, 40>>>(device);
  if (cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost) != cudaSuccess) return 2;
  for (int i = 0; i < 40; ++i)
    if (host[i] != i * i) return 3;
  // With the emulator its own functions are found, though this program was not linked to it; else they are null.
  if ((warploom_emulator_report != nullptr) != (argc > 1)) return 6;
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 4;
  std::printf("ran on %s\n", properties.name);
  return cudaFree(device) == cudaSuccess ? 0 : 5;
}
