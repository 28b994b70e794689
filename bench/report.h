// Measurements as a plain table, markdown, JSON or CSV.
#pragma once

#include <string>
#include <vector>

#include "machine.h"
#include "measure.h"

namespace warploom::bench {

struct Report {
  Machine machine;
  std::string model;  // file name; empty if none ran
  std::string device;
  std::vector<Measurement> measurements;
};

/// format: one that check_format accepts.
std::string render(const Report& report, const std::string& format);

}  // namespace warploom::bench
