// Results of serving runs as a plain table, markdown, JSON or CSV.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "machine.h"
#include "serving_result.h"

namespace warploom::bench {

struct ServingReport {
  Machine machine;
  std::string device, model;
  std::string modelled_gpu;  // whose times the emulator of CUDA modelled; empty: they are measured
  std::vector<std::pair<std::string, std::string>> workload;  // names and values, for those who want to repeat it
  Limits limits;
  std::vector<ServingResult> results;  // at least one
};

/// format: one that check_format accepts.
std::string render(const ServingReport& report, const std::string& format);

}  // namespace warploom::bench
