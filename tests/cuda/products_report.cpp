// Prints bench/README.md's table of products of a 4-bit weight: what they read on the emulator, and modelled times.
// `products_report ROWS COLS [TOKENS...]`; WARPLOOM_EMULATOR_DEVICE chooses a100 or h100.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "backend/weights.h"
#include "cuda/backend/matmul/matmul.h"
#include "cuda/runtime/raii.h"
#include "emulator/emulator.h"
#include "support/encoding.h"
#include "warploom/error.h"

using namespace warploom;

namespace {

constexpr double kLaunchSeconds = 2.1e-6;  // as the emulator models it

// Of dense products of f16 by the data sheet: what is added for cuBLASLt, whose kernels the emulator does not run.
double peak_of(const std::string& gpu) { return gpu == "h100" ? 989e12 : 312e12; }

// Whether cuBLASLt took part.
bool print_row(const Weight& weight, cuda::Matmul& matmul, const char* mode, std::int64_t tokens, cudaStream_t stream) {
  const std::string gpu = std::getenv("WARPLOOM_EMULATOR_DEVICE") ? std::getenv("WARPLOOM_EMULATOR_DEVICE") : "a100";
  const auto count = static_cast<std::size_t>(tokens * weight.cols());
  const cuda::DeviceBuffer x(2 * count, "x"), out(static_cast<std::size_t>(tokens * weight.rows()) * sizeof(float), "out");
  cudaMemsetAsync(x.data(), 0x34, x.bytes(), stream);
  MatmulArgs args;
  args.weight = &weight;
  args.x = static_cast<const float*>(x.data());
  args.tokens = tokens;
  args.out = static_cast<float*>(out.data());
  warploom_emulator_reset_counters();
  const auto calls = warploom_emulator_calls("cublasLtMatmul");
  warploom_emulator_count(1);
  matmul.run(args);
  cudaStreamSynchronize(stream);
  warploom_emulator_count(0);
  const auto dense = static_cast<double>(warploom_emulator_calls("cublasLtMatmul") - calls);
  WarploomCounters c = {};
  warploom_emulator_counters("kernel", &c);
  WarploomModelledTime t = {};
  warploom_emulator_modelled("kernel", gpu.c_str(), &t);
  const auto weights = static_cast<double>(weight.bytes());
  const double flops = 2.0 * static_cast<double>(weight.rows() * weight.cols() * tokens);
  const double added = dense > 0 ? dense * kLaunchSeconds + flops / peak_of(gpu) : 0;
  std::printf("| %lldx%lld | %lld | %s | %s | %.0f | %.2f | %.2f | %.1f |\n", static_cast<long long>(weight.rows()),
              static_cast<long long>(weight.cols()), static_cast<long long>(tokens), mode, gpu.c_str(),
              static_cast<double>(c.launches) + dense, 32.0 * static_cast<double>(c.distinct_sectors_read) / weights,
              32.0 * static_cast<double>(c.sectors_read) / weights, 1e6 * (t.total + added));
  std::fflush(stdout);
  return dense > 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) return std::fprintf(stderr, "usage: products_report ROWS COLS [TOKENS...]\n"), 2;
  if (warploom_emulator_count == nullptr) return std::fprintf(stderr, "products_report: only the emulator counts\n"), 1;
  const std::int64_t rows = std::strtoll(argv[1], nullptr, 10), cols = std::strtoll(argv[2], nullptr, 10);
  std::vector<std::int64_t> counts;
  for (int i = 3; i < argc; ++i) counts.push_back(std::strtoll(argv[i], nullptr, 10));
  if (counts.empty()) counts = {16, 32, 64, 65, 128, 256, 512};
  std::mt19937 rng(1);
  const test::RandomWeight weight(rng, WeightType::q4_0, rows, cols);
  const cuda::Stream stream = cuda::create_stream();
  std::printf(
      "| weight | tokens | mode | GPU | launches | read / weights | asked for / weights | us |\n"
      "|---|---:|---|---|---:|---:|---:|---:|\n");
  cuda::Matmul by_default({DType::f16, false, false}, stream.get()), deterministic({DType::f16, false, true}, stream.get());
  const auto prepared = by_default.load_weight({&weight.view, 1}), same = deterministic.load_weight({&weight.view, 1});
  // Without cuBLASLt both run the same kernels.
  for (const std::int64_t tokens : counts)
    if (print_row(*prepared, by_default, "default", tokens, stream.get()))
      print_row(*same, deterministic, "deterministic", tokens, stream.get());
} catch (const Error& error) {
  std::fprintf(stderr, "products_report: %s\n", error.what());
  return 1;
}
