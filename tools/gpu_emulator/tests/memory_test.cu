// Memory that the host shares with kernels, copies of rows, and what copies show of bytes that nobody wrote.
#include <numeric>

#include "emulated_device.h"

namespace {

__global__ void add_kernel(int* p, int n, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) p[i] += value;
}

TEST(HostMemory, ManagedMemoryIsReachedFromBothSides) {
  int* p;
  EXPECT_CUDA(cudaMallocManaged(&p, 100 * sizeof(int)));
  std::iota(p, p + 100, 0);
  add_kernel<<<1, 128>>>(p, 100, 5);
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(p[99], 104);
  std::vector<int> host(100, 1);
  EXPECT_CUDA(cudaMemcpy(p, host.data(), 400, cudaMemcpyHostToDevice));
  EXPECT_CUDA(cudaMemcpy(host.data(), p, 400, cudaMemcpyHostToHost));
  cudaPointerAttributes attributes;
  EXPECT_CUDA(cudaPointerGetAttributes(&attributes, p));
  EXPECT_EQ(attributes.type, cudaMemoryTypeManaged);
  EXPECT_EQ(attributes.hostPointer, p);
  EXPECT_EQ(attributes.devicePointer, p);
  const cudaMemLocation location{cudaMemLocationTypeDevice, 0};
  EXPECT_CUDA(cudaMemPrefetchAsync(p, 400, location, 0, nullptr));
  add_kernel<<<1, 128>>>(p, 101, 5);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  warploom_emulator_clear();
  EXPECT_CUDA(cudaFree(p));
  EXPECT_EQ(cudaMemPrefetchAsync(p, 400, location, 0, nullptr), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(HostMemory, KernelsReachPinnedMemory) {
  int *p, *device;
  EXPECT_CUDA(cudaHostAlloc(&p, 100 * sizeof(int), cudaHostAllocMapped));
  std::iota(p, p + 100, 0);
  EXPECT_CUDA(cudaHostGetDevicePointer(&device, p, 0));
  add_kernel<<<1, 128>>>(device, 100, 5);
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(p[99], 104);
  cudaPointerAttributes attributes;
  EXPECT_CUDA(cudaPointerGetAttributes(&attributes, p));
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(attributes.devicePointer, device);
  add_kernel<<<1, 128>>>(p, 101, 5);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("pinned memory, 0 bytes after the end of 400"), std::string::npos);
  warploom_emulator_clear();
  DeviceBuffer<int> from(std::vector<int>(101));
  EXPECT_EQ(cudaMemcpy(p, from.data(), 404, cudaMemcpyDeviceToHost), cudaErrorIllegalAddress);
  warploom_emulator_clear();
  EXPECT_CUDA(cudaFreeHost(p));
  EXPECT_EQ(cudaFreeHost(p), cudaErrorInvalidValue);
  std::vector<int> own(100);
  EXPECT_CUDA(cudaHostRegister(own.data(), 400, 0));
  EXPECT_EQ(cudaHostRegister(own.data(), 400, 0), cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_CUDA(cudaHostUnregister(own.data()));
  cudaGetLastError();
}

TEST(HostMemory, WhatNobodyWroteLooksLikeNothing) {
  DeviceBuffer<unsigned char> p(4);
  EXPECT_CUDA(cudaMemset(p.data() + 1, 7, 2));
  EXPECT_EQ(p.host(), (std::vector<unsigned char>{0xa5, 7, 7, 0xa5}));
}

TEST(HostMemory, Rows) {
  std::vector<char> in(1000), out(1000);
  std::iota(in.begin(), in.end(), 0);
  char* p;
  size_t pitch;
  EXPECT_CUDA(cudaMallocPitch(&p, &pitch, 100, 10));
  EXPECT_EQ(pitch, 512u);
  EXPECT_CUDA(cudaMemcpy2D(p, pitch, in.data(), 100, 100, 10, cudaMemcpyHostToDevice));
  EXPECT_CUDA(cudaMemcpy2D(out.data(), 100, p, pitch, 100, 10, cudaMemcpyDeviceToHost));
  EXPECT_EQ(out, in);
  EXPECT_EQ(cudaMemcpy2D(out.data(), 99, p, pitch, 100, 10, cudaMemcpyDeviceToHost), cudaErrorInvalidPitchValue);
  EXPECT_EQ(cudaMemcpy(p, in.data(), 10, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(nullptr, in.data(), 10, cudaMemcpyDefault), cudaErrorInvalidValue);
  cudaGetLastError();
  EXPECT_CUDA(cudaMemset2D(p, pitch, 3, 50, 10));
  EXPECT_CUDA(cudaMemcpy2D(out.data(), 100, p, pitch, 100, 10, cudaMemcpyDeviceToHost));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(out[i], i % 100 < 50 ? 3 : in[i]);
  EXPECT_CUDA(cudaFree(p));
}

}  // namespace
