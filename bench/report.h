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

/// Throws InvalidArgument unless it is "table", "markdown", "json" or "csv".
void check_format(const std::string& format);

/// In a format that check_format accepts.
std::string render(const Report& report, const std::string& format);

}  // namespace warploom::bench
