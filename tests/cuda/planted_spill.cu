// A kernel that cannot keep what it needs in 32 registers.
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
