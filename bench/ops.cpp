// Micro-benchmarks of the ops at SmolLM2-135M's shapes. Weights are larger than the second-level cache but the third level is
// not flushed between runs.
#include <memory>
#include <random>

#include <benchmark/benchmark.h>

#include "backend/backend.h"
#include "backend/weights.h"

namespace warploom {
namespace {

Backend& backend() {
  static const std::unique_ptr<Backend> one = create_backend({});
  return *one;
}

float* floats(std::unique_ptr<DeviceMemory>& memory, std::int64_t count) {
  memory = backend().alloc(static_cast<std::size_t>(count) * sizeof(float));
  return static_cast<float*>(memory->data());
}

void matmul(benchmark::State& state, WeightType type) {
  const std::int64_t rows = state.range(0), cols = state.range(1), tokens = state.range(2);
  std::mt19937 rng(1);
  const test::RandomWeight weight(rng, type, rows, cols);
  const auto prepared = backend().prepare({&weight.view, 1});
  std::unique_ptr<DeviceMemory> in, out;
  const MatmulArgs args{prepared.get(), floats(in, tokens * cols), nullptr, tokens, floats(out, tokens * rows)};
  for (auto _ : state) backend().matmul(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
  state.counters["MAC/s"] = benchmark::Counter(static_cast<double>(rows * cols * tokens), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(matmul, q4_1, WeightType::q4_1)->Args({3072, 576, 1})->Args({3072, 576, 8})->Args({3072, 576, 128})->Args({576, 1536, 1});
BENCHMARK_CAPTURE(matmul, q8_0, WeightType::q8_0)->Args({49152, 576, 1})->Args({49152, 576, 8});
BENCHMARK_CAPTURE(matmul, q6_k, WeightType::q6_k)->Args({3072, 1536, 1})->Args({3072, 1536, 128});
BENCHMARK_CAPTURE(matmul, f16, WeightType::f16)->Args({3072, 576, 1})->Args({3072, 576, 128});

void rms_norm(benchmark::State& state) {
  const std::int64_t tokens = state.range(0), dim = 576;
  std::unique_ptr<DeviceMemory> residual, delta, weight, out;
  const RmsNormArgs args{floats(residual, tokens * dim), floats(delta, tokens * dim), floats(weight, dim), nullptr, tokens, dim, 1e-5f, floats(out, tokens * dim)};
  for (auto _ : state) backend().rms_norm(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
}
BENCHMARK(rms_norm)->Arg(1)->Arg(128);

void swiglu(benchmark::State& state) {
  const std::int64_t tokens = state.range(0), ffn = 1536;
  std::unique_ptr<DeviceMemory> in, out;
  const SwigluArgs args{floats(in, 2 * tokens * ffn), tokens, ffn, floats(out, tokens * ffn)};
  for (auto _ : state) backend().swiglu(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
}
BENCHMARK(swiglu)->Arg(1)->Arg(128);

}  // namespace
}  // namespace warploom
