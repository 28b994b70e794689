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

  double int8();                   ///< multiply-adds a second of all threads, of codes of up to 6 bits
  double whole_int8();             ///< of codes of 8 bits
  double f32();                    ///< of floats
  double read(std::size_t bytes);  ///< bytes a second, of threads that read as many bytes in all over and over

 private:
  const Peaks& peaks_;
  int threads_;
  double int8_ = 0, whole_int8_ = 0, f32_ = 0;
  std::map<std::size_t, double> read_;
};

}  // namespace warploom::bench
