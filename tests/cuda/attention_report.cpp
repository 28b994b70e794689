// Prints bench/README.md's table of what attention moves: steps on the emulator, counted, and times modelled on its device.
// `attention_report`; WARPLOOM_EMULATOR_DEVICE chooses a100 or h100.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cuda/attention_traffic.h"

using namespace warploom;
using test::Batch;
using test::crowd;

namespace {

double megabytes(std::uint64_t sectors) { return 32e-6 * static_cast<double>(sectors); }

void print_row(const char* gpu, const char* step, const test::Traffic& t, const Batch& batch) {
  const WarploomCounters n = test::count_attention(t, batch, "attention_kernel");
  WarploomModelledTime time = {};
  warploom_emulator_modelled("attention_kernel", gpu, &time);
  std::printf("| %s | %lld | %.1f | %.1f | %.1f |\n", step, static_cast<long long>(t.heads / t.kv_heads),
              megabytes(n.distinct_sectors_read + n.distinct_sectors_written), megabytes(n.sectors_read + n.sectors_written),
              1e6 * time.total);
  std::fflush(stdout);
}

}  // namespace

int main() try {
  if (warploom_emulator_count == nullptr) return std::fprintf(stderr, "attention_report: only the emulator counts\n"), 1;
  const char* named = std::getenv("WARPLOOM_EMULATOR_DEVICE");
  const char* gpu = named ? named : "a100";
  std::printf("| step | query heads of a kv head | moved, MB | asked for, MB | %s us |\n|---|---:|---:|---:|---:|\n", gpu);
  for (const std::int64_t group : {4, 8}) {
    const test::Traffic t{1, 32, 32 / group, 128};
    print_row(gpu, "1 token over 32,768", t, crowd(1, 32768, 1));
    print_row(gpu, "4 tokens over 32,768", t, crowd(1, 32768, 4));
  }
  const test::Traffic t{1, 32, 8, 128};
  const test::Sequence prompt{1024, 512};
  Batch together = crowd(64, 1024, 1);
  print_row(gpu, "a: 512 tokens of a prompt, over 1,024", t, {prompt});
  print_row(gpu, "b: 1 token over 1,024 for each of 64 sequences", t, together);
  together.insert(together.begin(), prompt);
  print_row(gpu, "a and b in one step", t, together);
} catch (const std::exception& error) {
  std::fprintf(stderr, "attention_report: %s\n", error.what());
  return 1;
}
