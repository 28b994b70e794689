// The formats of reports.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "machine.h"

namespace warploom::bench {

/// Throws InvalidArgument unless it is "table", "markdown", "json" or "csv".
void check_format(const std::string& format);

/// A field of a CSV file.
std::string quoted(const std::string& text);

nlohmann::json as_json(const Machine& machine);

}  // namespace warploom::bench
