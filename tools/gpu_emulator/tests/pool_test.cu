// Memory pools: their limits, what they keep, and memory that is handed out and given back in streams' order.
#include "emulated_device.h"

namespace {

__global__ void set_kernel(char* p) { p[threadIdx.x] = 1; }

struct Pool {
  explicit Pool(size_t limit) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.maxSize = limit;
    EXPECT_CUDA(cudaMemPoolCreate(&handle, &properties));
    EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  ~Pool() {
    cudaMemPoolDestroy(handle);
    cudaStreamDestroy(stream);
  }
  uint64_t get(cudaMemPoolAttr which) const {
    uint64_t value = 0;
    EXPECT_CUDA(cudaMemPoolGetAttribute(handle, which, &value));
    return value;
  }
  void set(cudaMemPoolAttr which, uint64_t value) { EXPECT_CUDA(cudaMemPoolSetAttribute(handle, which, &value)); }
  cudaMemPool_t handle;
  cudaStream_t stream;
};

TEST(Pool, HasALimitOfItsOwn) {
  Pool pool(1000);
  char *a, *b;
  EXPECT_CUDA(cudaMallocFromPoolAsync(&a, 600, pool.handle, pool.stream));
  EXPECT_EQ(cudaMallocFromPoolAsync(&b, 401, pool.handle, pool.stream), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaMallocFromPoolAsync(&b, 400, pool.handle, pool.stream));
  EXPECT_CUDA(cudaFreeAsync(b, pool.stream));
  EXPECT_CUDA(cudaMallocAsync(&b, 4000, pool.stream));  // of the default pool
  EXPECT_CUDA(cudaFreeAsync(b, pool.stream));
  EXPECT_CUDA(cudaFree(a));
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemCurrent), 0u);
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemHigh), 1000u);
}

// What is on its way back counts as room, in the pool and on the device: the stream's order makes it so.
TEST(Pool, WhatIsFreedEarlierInTheStreamIsRoom) {
  Pool pool(1000);
  char* p;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(cudaMallocFromPoolAsync(&p, 900, pool.handle, pool.stream), cudaSuccess);
    set_kernel<<<1, 900, 0, pool.stream>>>(p);
    EXPECT_CUDA(cudaFreeAsync(p, pool.stream));
  }
  EXPECT_CUDA(cudaStreamSynchronize(pool.stream));
  size_t before, total;
  EXPECT_CUDA(cudaMemGetInfo(&before, &total));
  warploom_emulator_limit_memory(total - before + 1000);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(cudaMallocAsync(&p, 900, pool.stream), cudaSuccess);
    EXPECT_CUDA(cudaFreeAsync(p, pool.stream));
  }
  EXPECT_CUDA(cudaMalloc(&p, 1000));
  EXPECT_CUDA(cudaFree(p));
  EXPECT_EQ(cudaMalloc(&p, 1001), cudaErrorMemoryAllocation);
  cudaGetLastError();
  warploom_emulator_limit_memory(total);
}

TEST(Pool, KeepsUpToItsThreshold) {
  Pool pool(0);
  char* p;
  auto use = [&] {
    EXPECT_CUDA(cudaMallocFromPoolAsync(&p, 5000, pool.handle, pool.stream));
    EXPECT_CUDA(cudaFreeAsync(p, pool.stream));
    EXPECT_CUDA(cudaStreamSynchronize(pool.stream));
  };
  use();
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 0u);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemHigh), 5000u);
  pool.set(cudaMemPoolAttrReleaseThreshold, 3000);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReleaseThreshold), 3000u);
  use();
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 3000u);
  EXPECT_CUDA(cudaMemPoolTrimTo(pool.handle, 1000));
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 1000u);
  pool.set(cudaMemPoolAttrUsedMemHigh, 0);
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemHigh), 0u);
  uint64_t value = 1;
  EXPECT_EQ(cudaMemPoolSetAttribute(pool.handle, cudaMemPoolAttrUsedMemHigh, &value), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolSetAttribute(pool.handle, cudaMemPoolAttrUsedMemCurrent, &value), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(Pool, BecomesTheDevicesUntilDestroyed) {
  cudaMemPool_t standard, current;
  EXPECT_CUDA(cudaDeviceGetDefaultMemPool(&standard, 0));
  char *p, *q;
  {
    Pool pool(1000);
    EXPECT_CUDA(cudaDeviceSetMemPool(0, pool.handle));
    EXPECT_CUDA(cudaDeviceGetMemPool(&current, 0));
    EXPECT_EQ(current, pool.handle);
    EXPECT_CUDA(cudaMallocAsync(&p, 700, pool.stream));
    EXPECT_EQ(cudaMallocAsync(&q, 700, pool.stream), cudaErrorMemoryAllocation);
    EXPECT_NE(std::string(warploom_emulator_leaks()).find("memory pool"), std::string::npos);
    EXPECT_CUDA(cudaMemPoolDestroy(pool.handle));
    EXPECT_EQ(cudaMemPoolDestroy(pool.handle), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMallocFromPoolAsync(&q, 7, pool.handle, pool.stream), cudaErrorInvalidValue);
    set_kernel<<<1, 700, 0, pool.stream>>>(p);  // what it handed out stays good
    EXPECT_CUDA(cudaFreeAsync(p, pool.stream));
    EXPECT_EQ(cudaFreeAsync(p, pool.stream), cudaErrorInvalidValue);
    EXPECT_CUDA(cudaStreamSynchronize(pool.stream));
  }
  EXPECT_CUDA(cudaDeviceGetMemPool(&current, 0));
  EXPECT_EQ(current, standard);
  cudaGetLastError();
}

}  // namespace
