// warploom-microbench: the main function of Google Benchmark's own library, but for its usage, and status 2 for what it does not know.
#include <cstdio>
#include <string_view>

#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help")
      std::puts("usage: warploom-microbench [OPTIONS], which are Google Benchmark's:");
  benchmark::Initialize(&argc, argv);  // ends the program after --help
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
