// What scripts/check-kernels must refuse. First: a kernel that cannot keep what it needs in 32 registers.
extern "C" __global__ void spills(const float* in, float* out) {
  float x[48];
#pragma unroll
  for (int i = 0; i < 48; ++i) x[i] = in[i * 32 + threadIdx.x];
  for (int round = 0; round < 8; ++round) {
#pragma unroll
    for (int i = 0; i < 48; ++i) x[i] = x[i] * x[(i + 7) % 48] + x[(i * 5 + 1) % 48];
  }
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 48; ++i) sum += x[i] * static_cast<float>(i + 1);
  out[threadIdx.x] = sum;
}

// Every lane of a warp in one bank.
extern "C" __global__ void conflicts(const float* in, float* out) {
  __shared__ float table[32 * 32];
  for (int i = threadIdx.x; i < 32 * 32; i += 512) table[i] = in[i];
  __syncthreads();
  out[threadIdx.x] = table[threadIdx.x % 32 * 32 + threadIdx.x / 32];
}

// Sums of 64 bits in shared memory.
extern "C" __global__ void swaps(const unsigned long long* in, unsigned long long* out) {
  __shared__ unsigned long long sums[64];
  if (threadIdx.x < 64) sums[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&sums[in[threadIdx.x] % 64], in[threadIdx.x]);
  __syncthreads();
  if (threadIdx.x < 64) out[threadIdx.x] = sums[threadIdx.x];
}

// Products of tensor cores with a branch before each.
extern "C" __global__ void branches(const unsigned* in, float* out, int rounds, int parts) {
  float d[4] = {};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int part = 0; part < 8; ++part) {
      if (part >= parts) break;
      const unsigned a = in[32 * (8 * round + part) + threadIdx.x];
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, {%0,%1,%2,%3};"
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                   : "r"(a));
    }
  }
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = d[i];
}
