// Products of the CUDA backend with weights in 4 bits and in 16.
#include <algorithm>

#include "bench/gpu/op_tests.h"
#include "bench/gpu/run.h"
#include "checkpoint/random_weight.h"
#include "cuda/backend/matmul/matmul.h"

namespace warploom::bench {

namespace {

// Tests that share a weight.
void run_tests(const GpuRun& run, std::span<const ProductTest> tests) {
  const auto& [type, deterministic, rows, cols, least] = tests.front();
  WeightView view{type, rows, cols, nullptr, "a benchmark's"};
  std::vector<std::byte> data(view.bytes());
  view.data = data.data();
  fill_random(view, data.data(), 0.05f, 1, 8);
  cuda::Matmul matmul({DType::f16, type == WeightType::f16, deterministic}, run.timer.stream());
  const auto weight = matmul.load_weight({&view, 1});
  std::int64_t most = least;
  for (const ProductTest& test : tests) most = std::max(most, test.tokens);
  const OnDevice<std::uint16_t> x(std::vector<std::uint16_t>(static_cast<std::size_t>(most * cols), 0x3400));  // 0.25
  const cuda::DeviceBuffer out(static_cast<std::size_t>(most * rows) * sizeof(float), "the result");
  for (const ProductTest& test : tests) {
    const MatmulArgs args{weight.get(), x.data(), nullptr, test.tokens, static_cast<float*>(out.data())};
    run.time(test.name(), static_cast<double>(weight->bytes()), 2.0 * static_cast<double>(rows * cols * test.tokens), false,
             [&] { matmul.run(args); });
  }
}

}  // namespace

void run_products(const GpuRun& run) {
  std::vector<ProductTest> wanted = product_tests(run.options.small);
  std::erase_if(wanted, [&](const ProductTest& test) { return !run.wants(test.name()); });
  for (auto first = wanted.begin(); first != wanted.end();) {
    const auto end = std::find_if(first, wanted.end(), [&](const ProductTest& test) { return !test.shares_weight(*first); });
    run_tests(run, {first, end});
    first = end;
  }
}

}  // namespace warploom::bench
