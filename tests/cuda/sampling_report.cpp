// Prints bench/README.md's table of what the sampling kernel moves, as the emulator counts it. `sampling_report [ROWS...]`
#include <cstdio>
#include <cstdlib>

#include "cuda/sample_traffic.h"

int main(int argc, char** argv) {
  using namespace warploom;
  std::vector<std::int64_t> counts;
  for (int i = 1; i < argc; ++i) counts.push_back(std::strtoll(argv[i], nullptr, 10));
  if (counts.empty()) counts = {1, 8, 64, 256};
  std::printf("| rows | logits | strategy | row | blocks | read | asked for | written | A100 us | H100 us |\n");
  std::printf("|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::int64_t rows : counts) {
    for (const test::TrafficCase& c : test::traffic_cases(rows)) {
      const auto t = test::measure_traffic(c);
      if (!t)
        return std::fprintf(stderr, "sampling_report: only the emulator counts; put its folder first on LD_LIBRARY_PATH\n"),
               1;
      std::printf("| %lld | %s | %s | %s | %llu | %.3f | %.2f | %.4f | %.1f | %.1f |\n", static_cast<long long>(rows),
                  c.type == LogitType::f32 ? "f32" : "bf16", c.strategy.c_str(), c.peaked ? "peaked" : "flat",
                  static_cast<unsigned long long>(t->counters.blocks), t->read(), t->asked(), t->written(), t->a100_us,
                  t->h100_us);
      std::fflush(stdout);
    }
  }
}
