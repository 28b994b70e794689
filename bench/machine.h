// What a measurement was taken on.
#pragma once

#include <string>

namespace warploom::bench {

struct Machine {
  std::string cpu;  // as the processor calls itself
  int cores = 0;    // that this process may use
  double memory_gib = 0;
};
Machine this_machine();

/// What heads a report: the machine, the device and, unless it is empty, the model.
std::string heading(const Machine& machine, const std::string& device, const std::string& model);

}  // namespace warploom::bench
