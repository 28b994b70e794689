// Prints bench/README.md's table of decoding on CUDA: counters of one step of SmolLM2-135M on the emulator, and modelled times.
// `model_report MODEL.gguf [packed|half] [SEQUENCES...]`
#include <cstdio>

#include "emulator/emulator.h"
#include "support/report_arguments.h"
#include "support/stepper.h"

using namespace warploom;

namespace {

constexpr std::int64_t kContext = 512;

struct Gpu {
  const char* name;
  double bandwidth;  // bytes a second, of the data sheet
};
constexpr Gpu kGpus[] = {{"a100", 2.039e12}, {"h100", 3.35e12}};

// Bytes that a step must at least bring from DRAM: the weights, and each sequence's keys and values.
double least_bytes(const test::Stepper& stepper, std::int64_t sequences) {
  const ModelShape& s = stepper.shape();
  return static_cast<double>(stepper.weight_bytes()) +
         static_cast<double>(sequences * kContext * 2 * s.num_layers * s.num_kv_heads * s.head_dim * bytes_of(DType::f16));
}

void print_row(const std::string& path, CudaWeights weights, std::int64_t sequences) {
  DeviceOptions options;
  options.kind = DeviceKind::cuda;
  options.cuda.cuda_graphs = false;
  options.cuda.weights = weights;
  options.cuda.deterministic = true;  // kernels of our own alone: the emulator cannot count those of cuBLASLt
  test::Stepper stepper(path, create_backend(options), sequences, kContext, sequences);
  stepper.skip(kContext - 1);  // what the cache holds does not change what a step costs
  const std::vector<std::vector<TokenId>> next(static_cast<std::size_t>(sequences), {260});
  std::vector<SamplingInput> rows(static_cast<std::size_t>(sequences));
  for (SamplingInput& row : rows) row.params = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f};
  std::vector<SampleResult> drawn(rows.size());
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  stepper.step(next, rows, drawn);
  warploom_emulator_count(0);
  WarploomCounters c = {};
  warploom_emulator_counters("", &c);
  std::printf("| %lld | %llu | %.1f | %.1f |", static_cast<long long>(sequences),
              static_cast<unsigned long long>(c.launches),
              1e-6 * 32 * static_cast<double>(c.distinct_sectors_read + c.distinct_sectors_written),
              1e-6 * least_bytes(stepper, sequences));
  for (const Gpu& gpu : kGpus) {
    WarploomModelledTime t = {};
    warploom_emulator_modelled("", gpu.name, &t);
    const double limit = least_bytes(stepper, sequences) / gpu.bandwidth;
    WarploomModelledTime products = {};
    warploom_emulator_modelled("matmul", gpu.name, &products);
    std::printf(" %.0f | %.0f | %.0f | %.0f%% | %.0f%% |", 1e6 * t.total, 1e6 * products.total,
                static_cast<double>(sequences) / t.total, 100 * limit / t.total, 100 * limit / (t.total - t.launch));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const char* usage =
      "model_report MODEL.gguf [packed|half] [SEQUENCES..]: packed weights and 1, 16, 64 and 256 sequences unless said "
      "otherwise; on the emulator of CUDA alone";
  return test::run_report(argc, argv, usage, [](const std::vector<std::string>& arguments) {
    if (arguments.empty()) throw test::WrongArgument("it takes the file of a model");
    std::vector<std::int64_t> counts;
    CudaWeights weights = CudaWeights::packed;
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      if (arguments[i] == "packed" || arguments[i] == "half")
        weights = arguments[i] == "half" ? CudaWeights::half : CudaWeights::packed;
      else
        counts.push_back(test::number_of(arguments[i], "sequences", 1, 4096));
    }
    if (counts.empty()) counts = {1, 16, 64, 256};
    if (warploom_emulator_count == nullptr) throw std::runtime_error("only the emulator counts");
    std::printf(
        "| sequences | kernels | MB moved | MB at least | A100 us | products | tokens/s | of the limit | without launches "
        "| H100 us | products | tokens/s | of the limit | without launches "
        "|\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (const std::int64_t n : counts) print_row(arguments[0], weights, n);
  });
}
