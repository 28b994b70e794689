// A calibration for people and for programs.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "bench/calibrate/calibration.h"

namespace warploom::calibrate {

/// How sure the verdict is, a row a test, the verdict. format: "table" or "markdown".
std::string as_table(const Calibration& calibration, const std::string& format);

/// One object with the same. What has no number there, or is without bound, is null.
nlohmann::json as_json(const Calibration& calibration);

}  // namespace warploom::calibrate
