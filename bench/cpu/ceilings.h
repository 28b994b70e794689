// What this machine can do at most: how fast threads read, and multiply and add.
#pragma once

#include <cstddef>
#include <map>

#include "peaks.h"
#include "warploom/device.h"

namespace warploom::bench {

/// Measures each ceiling when it is first asked for.
class Ceilings {
 public:
  /// isa: one that this machine runs.
  Ceilings(int threads, CpuIsa isa);

  /// Multiply-adds a second of all threads: of codes of up to 6 bits, of codes of 8 bits, of floats.
  double int8() { return once(int8_, peaks_.int8); }
  double whole_int8() { return once(whole_int8_, peaks_.whole_int8); }
  double f32() { return once(f32_, peaks_.f32); }
  double read(std::size_t bytes);  ///< bytes a second, of threads that read as many bytes in all over and over

 private:
  double once(double& rate, std::int64_t (*multiply_adds)(std::int64_t));

  const Peaks& peaks_;
  int threads_;
  double int8_ = 0, whole_int8_ = 0, f32_ = 0;
  std::map<std::size_t, double> read_;
};

}  // namespace warploom::bench
