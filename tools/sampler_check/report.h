// The result of a sampler check for people and for programs.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tools/sampler_check/sampler_check.h"

namespace warploom::sampler_check {

/// How sure the verdict is, a row a test, the verdict. format: "table" or "markdown".
std::string as_table(const SamplerCheck& check, const std::string& format);

/// One object with the same. What has no number there, or is without bound, is null.
nlohmann::json as_json(const SamplerCheck& check);

}  // namespace warploom::sampler_check
