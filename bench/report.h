// Measurements as a plain table, markdown or JSON.
#pragma once

#include <string>
#include <vector>

#include "machine.h"
#include "measure.h"

namespace warploom::bench {

struct Report {
  Machine machine;
  std::string model;  // file name; empty where none ran
  std::string device;
  std::vector<Measurement> measurements;
};

/// format: "table", "markdown" or "json".
std::string render(const Report& report, const std::string& format);

}  // namespace warploom::bench
