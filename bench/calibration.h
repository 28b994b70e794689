// warploom-bench --calibrate: do draws follow their distributions on this machine?
#pragma once

#include <cstdint>
#include <string>

namespace warploom::bench {

struct CalibrationOptions {
  std::string device = "auto";  // auto: the GPU where there is one that can be used
  int threads = 0;              // of the CPU; 0: one per core
  std::int64_t draws = 1'000'000;
  std::string format = "table";  // or markdown or json
  bool quiet = false;            // no progress
};

/// Prints the tests and the verdict. Returns the exit status: 0 where every test passed, else 1.
int run_calibration(const CalibrationOptions& options);

}  // namespace warploom::bench
