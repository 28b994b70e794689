// Prints bench/README.md's tables of what sampling and its yardstick move, as the emulator counts it. `sampling_report
// [ROWS...]`
#include <cstdio>

#include "cuda/sample_traffic.h"
#include "support/report_arguments.h"

using namespace warploom;

namespace {

const char* name(DType type) { return type == DType::f32 ? "f32" : "bf16"; }

void print_row(const test::TrafficCase& c, const test::Traffic& t, bool launches) {
  std::printf("| %lld | %s | %s | %s | %llu | %.3f | %.2f | %.4f | %.1f | %.1f |\n", static_cast<long long>(c.rows),
              name(c.type), c.strategy.c_str(), c.peaked ? "peaked" : "flat",
              static_cast<unsigned long long>(launches ? t.counters.launches : t.counters.blocks), t.read(), t.asked(),
              t.written(), t.a100_us, t.h100_us);
  std::fflush(stdout);
}

void print_table(test::TrafficOf what, const std::vector<std::int64_t>& counts) {
  const bool sorts = what == test::TrafficOf::full_sort;
  std::printf("| rows | logits | strategy | row | %s | read | asked for | written | A100 us | H100 us |\n",
              sorts ? "launches" : "blocks");
  std::printf("|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::int64_t rows : counts)
    for (const test::TrafficCase& c : test::traffic_cases(rows)) {
      if (sorts && (!c.peaked || c.strategy == "temperature")) continue;  // the sort is the same, and no draw needs it
      print_row(c, test::measure_traffic(c, what).value(), sorts);
    }
}

}  // namespace

int main(int argc, char** argv) {
  const char* usage = "sampling_report [ROWS..]: 1, 8, 64 and 256 rows unless said otherwise; on the emulator of CUDA alone";
  return test::run_report(argc, argv, usage, [](const std::vector<std::string>& arguments) {
    std::vector<std::int64_t> counts;
    for (const std::string& argument : arguments) counts.push_back(test::number_of(argument, "rows", 1, 4096));
    if (counts.empty()) counts = {1, 8, 64, 256};
    if (!test::measure_traffic(test::traffic_cases(1).front()))
      throw std::runtime_error("only the emulator counts; put its folder first on LD_LIBRARY_PATH");
    std::printf("cuda::sample\n\n");
    print_table(test::TrafficOf::sample, counts);
    std::printf("\ncub::DeviceSegmentedRadixSort and what follows it\n\n");
    print_table(test::TrafficOf::full_sort, counts);
  });
}
