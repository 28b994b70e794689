// What `warploom generate` reports of its results besides the text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "warploom/request.h"

namespace warploom::cli {

/// What holds for all of them.
struct RunInfo {
  double load_seconds = 0;
  std::string device;  // its description
  std::uint64_t seed = 0;
};

/// One completion of prompt number `prompt`. text: what is shown of it.
nlohmann::json to_json(std::size_t prompt, const RequestOutput& output, const Completion& completion, std::string_view text,
                       const RunInfo& info);
/// To standard output, at once. Bytes that are no UTF-8 become U+FFFD.
void print_line(const nlohmann::json& line);

/// `text` of JSON with the control characters escaped that it leaves as they are.
std::string escape_controls(std::string_view text);
/// To standard error: counts, speeds, the device, and the seed to repeat it. At least one output.
void print_summary(std::span<const RequestOutput> all, const RunInfo& info);

}  // namespace warploom::cli
