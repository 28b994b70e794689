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
#include "support/report_arguments.h"

using namespace warploom;

namespace {

constexpr double kLaunchSeconds = 2.1e-6;  // as the emulator models it

// Of dense products of f16 by the data sheet: what is added for cuBLASLt, whose kernels the emulator does not run.
double peak_of(const std::string& gpu) { return gpu == "h100" ? 989e12 : 312e12; }

// Whether cuBLASLt took part.
bool print_row(const Weight& weight, cuda::Matmul& matmul, const char* mode, std::int64_t tokens, cudaStream_t stream) {
  const char* named = std::getenv("WARPLOOM_EMULATOR_DEVICE");
  const std::string gpu = named != nullptr && *named != '\0' ? named : "a100";
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

void print_table(std::int64_t rows, std::int64_t cols, const std::vector<std::int64_t>& counts) {
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
}

}  // namespace

int main(int argc, char** argv) {
  const char* usage =
      "products_report ROWS COLS [TOKENS..]: 16, 32, 64, 65, 128, 256 and 512 tokens unless said otherwise; on the emulator "
      "of CUDA alone";
  return test::run_report(argc, argv, usage, [](const std::vector<std::string>& arguments) {
    if (arguments.size() < 2) throw test::WrongArgument("it takes rows and columns of a weight");
    const std::int64_t rows = test::number_of(arguments[0], "rows", 1, 1 << 20),
                       cols = test::number_of(arguments[1], "columns", 32, 1 << 20);
    if (cols % 32 != 0) throw test::WrongArgument("\"" + arguments[1] + "\" columns are no multiple of 32");
    std::vector<std::int64_t> counts;
    for (std::size_t i = 2; i < arguments.size(); ++i) counts.push_back(test::number_of(arguments[i], "tokens", 1, 65536));
    if (counts.empty()) counts = {16, 32, 64, 65, 128, 256, 512};
    if (warploom_emulator_count == nullptr) throw std::runtime_error("only the emulator counts");
    print_table(rows, cols, counts);
  });
}
