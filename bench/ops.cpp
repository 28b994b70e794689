// Micro-benchmarks of the ops at SmolLM2-135M's shapes. Weights exceed the L2 cache, but L3 is not flushed between runs.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "backend/backend.h"
#include "checkpoint/random_weight.h"
#include "core/divide.h"

namespace warploom {
namespace {

Backend& backend() {
  static const std::unique_ptr<Backend> instance = create_backend({});
  return *instance;
}

float* floats(std::unique_ptr<Buffer>& memory, std::int64_t count) {
  memory = backend().alloc(static_cast<std::size_t>(count) * sizeof(float));
  return static_cast<float*>(memory->data());
}

void matmul(benchmark::State& state, WeightType type) {
  const std::int64_t rows = state.range(0), cols = state.range(1), tokens = state.range(2);
  WeightView weight{type, rows, cols, nullptr, "random"};
  std::vector<std::byte> bytes(weight.bytes());
  weight.data = bytes.data();
  fill_random(weight, bytes.data(), 0.05f, 1, 1);
  const auto prepared = backend().load_weight({&weight, 1});
  std::unique_ptr<Buffer> in, out;
  const MatmulArgs args{prepared.get(), floats(in, tokens * cols), nullptr, tokens, floats(out, tokens * rows)};
  for (auto _ : state) backend().matmul(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
  state.counters["MAC/s"] =
      benchmark::Counter(static_cast<double>(rows * cols * tokens), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(matmul, q4_1, WeightType::q4_1)
    ->Args({3072, 576, 1})
    ->Args({3072, 576, 8})
    ->Args({3072, 576, 128})
    ->Args({576, 1536, 1});
BENCHMARK_CAPTURE(matmul, q8_0, WeightType::q8_0)->Args({49152, 576, 1})->Args({49152, 576, 8});
BENCHMARK_CAPTURE(matmul, q6_k, WeightType::q6_k)->Args({3072, 1536, 1})->Args({3072, 1536, 128});
BENCHMARK_CAPTURE(matmul, f16, WeightType::f16)->Args({3072, 576, 1})->Args({3072, 576, 128});

void rms_norm(benchmark::State& state) {
  const std::int64_t tokens = state.range(0), dim = 576;
  std::unique_ptr<Buffer> residual, delta, weight, out;
  const RmsNormArgs args{
      floats(residual, tokens * dim), floats(delta, tokens * dim), floats(weight, dim), tokens, dim, 1e-5f,
      floats(out, tokens * dim)};
  for (auto _ : state) backend().rms_norm(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
}
BENCHMARK(rms_norm)->Arg(1)->Arg(128);

// Every second row of queries in rows of queries, keys and values.
void gather_rows(benchmark::State& state) {
  const std::int64_t count = state.range(0), stride = 960, width = 576;
  std::unique_ptr<Buffer> in, rows = backend().alloc(static_cast<std::size_t>(count) * sizeof(std::int32_t)), out;
  std::vector<std::int32_t> even(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) even[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(2 * i);
  backend().upload(rows->data(), even.data(), rows->bytes());
  const GatherRowsArgs args{
      floats(in, 2 * count * stride), stride, static_cast<const std::int32_t*>(rows->data()), count, width,
      floats(out, count * width)};
  for (auto _ : state) backend().gather_rows(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
}
BENCHMARK(gather_rows)->Arg(1)->Arg(128);

void swiglu(benchmark::State& state) {
  const std::int64_t tokens = state.range(0), ffn = 1536;
  std::unique_ptr<Buffer> in, out;
  const SwigluArgs args{floats(in, 2 * tokens * ffn), tokens, ffn, floats(out, tokens * ffn)};
  for (auto _ : state) backend().swiglu(args);
  state.SetBytesProcessed(state.iterations() * bytes_moved(args));
}
BENCHMARK(swiglu)->Arg(1)->Arg(128);

std::int32_t* integers(std::unique_ptr<Buffer>& memory, const std::vector<std::int32_t>& values) {
  memory = backend().alloc(values.size() * sizeof(std::int32_t));
  backend().upload(memory->data(), values.data(), values.size() * sizeof(std::int32_t));
  return static_cast<std::int32_t*>(memory->data());
}

// The last tokens of one sequence attend to its context in an f16 cache.
void attention(benchmark::State& state) {
  const std::int64_t context = state.range(0), tokens = state.range(1), heads = 9, kv_heads = 3, head_dim = 64;
  const std::int64_t blocks = ceil_div(context, 16);
  const auto cache = backend().create_kv_cache({1, kv_heads, head_dim, blocks, DType::f16, 16});
  std::vector<std::int32_t> positions, table;
  for (std::int64_t t = context - tokens; t < context; ++t) positions.push_back(static_cast<std::int32_t>(t));
  for (std::int64_t b = 0; b < blocks; ++b) table.push_back(static_cast<std::int32_t>(b));
  std::unique_ptr<Buffer> memory[6];
  PagedAttentionArgs args;
  args.num_heads = heads;
  args.softmax_scale = 0.125f;
  args.metadata = {tokens,
                   1,
                   tokens,
                   integers(memory[0], positions),
                   integers(memory[1], std::vector<std::int32_t>(positions.size())),
                   integers(memory[2], {0, static_cast<std::int32_t>(tokens)}),
                   integers(memory[3], table),
                   blocks};
  args.cache = cache->view();
  args.queries = {floats(memory[4], tokens * heads * head_dim), DType::f32, heads * head_dim};
  args.out = {floats(memory[5], tokens * heads * head_dim), DType::f32, heads * head_dim};
  const auto workspace = backend().alloc(backend().workspace_bytes(args));
  args.workspace = {workspace->data(), workspace->bytes()};
  for (auto _ : state) backend().paged_attention(args);
  const std::int64_t pairs = tokens * context - tokens * (tokens - 1) / 2;
  state.counters["MAC/s"] =
      benchmark::Counter(static_cast<double>(2 * pairs * heads * head_dim), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention)->Args({512, 512})->Args({4096, 512})->Args({4096, 1});

}  // namespace
}  // namespace warploom
