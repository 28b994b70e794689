// Products of the CUDA backend with weights in 4 bits and in 16.
#include <fmt/format.h>

#include "bench/gpu/run.h"
#include "checkpoint/random_weight.h"
#include "cuda/backend/matmul/matmul.h"

namespace warploom::bench {

namespace {

struct Kind {
  const char* name;
  WeightType type;
  cuda::MatmulOptions options;
};

const Kind kKinds[] = {{"Q4_0", WeightType::q4_0, {DType::f16, false, false}},
                       {"Q4_0 deterministic", WeightType::q4_0, {DType::f16, false, true}},
                       {"F16", WeightType::f16, {DType::f16, true, false}}};

void run_weight(const GpuRun& run, const Kind& kind, std::int64_t rows, std::int64_t cols) {
  const auto name = [&](std::int64_t tokens) {
    return fmt::format("product {} {}x{} {} tokens", kind.name, rows, cols, tokens);
  };
  std::vector<std::int64_t> counts = {1, 2, 4, 8, 16, 32, 64, 65, 128, 256, 257, 512};
  if (run.options.small) counts = {1, 16, 64, 65, 256, 257, 512};
  std::erase_if(counts, [&](std::int64_t tokens) { return !run.wants(name(tokens)); });
  if (counts.empty()) return;
  WeightView view{kind.type, rows, cols, nullptr, "a benchmark's"};
  std::vector<std::byte> data(view.bytes());
  view.data = data.data();
  fill_random(view, data.data(), 0.05f, 1, 8);
  cuda::Matmul matmul(kind.options, run.timer.stream());
  const auto weight = matmul.load_weight({&view, 1});
  const std::int64_t most = counts.back();
  const OnDevice<std::uint16_t> x(std::vector<std::uint16_t>(static_cast<std::size_t>(most * cols), 0x3400));  // 0.25
  const cuda::DeviceBuffer out(static_cast<std::size_t>(most * rows) * sizeof(float), "the result");
  for (const std::int64_t tokens : counts) {
    const MatmulArgs args{weight.get(), x.data(), nullptr, tokens, static_cast<float*>(out.data())};
    run.time(name(tokens), static_cast<double>(weight->bytes()), 2.0 * static_cast<double>(rows * cols * tokens), false,
             [&] { matmul.run(args); });
  }
}

}  // namespace

void run_products(const GpuRun& run) {
  const auto shapes = run.options.small
                          ? std::vector<std::pair<std::int64_t, std::int64_t>>{{256, 256}}
                          : std::vector<std::pair<std::int64_t, std::int64_t>>{{4096, 4096}, {28672, 4096}, {4096, 14336}};
  for (const Kind& kind : kKinds)
    for (const auto& [rows, cols] : shapes) run_weight(run, kind, rows, cols);
}

}  // namespace warploom::bench
