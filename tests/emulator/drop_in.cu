// A program that knows nothing of the emulator: exits 0 where its kernel ran.
#include <cstdio>

namespace {

__global__ void square_kernel(int* p) { p[threadIdx.x] = threadIdx.x * threadIdx.x; }

}  // namespace

int main() {
  int host[40], *device = nullptr;
  if (cudaMalloc(&device, sizeof host) != cudaSuccess) return 1;
  square_kernel<<<1, 40>>>(device);
  if (cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost) != cudaSuccess) return 2;
  for (int i = 0; i < 40; ++i)
    if (host[i] != i * i) return 3;
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 4;
  std::printf("ran on %s\n", properties.name);
  return cudaFree(device) == cudaSuccess ? 0 : 5;
}
