// What `warploom generate` reports of its results besides the text.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

#include "warploom/request.h"

namespace warploom::cli {

/// One completion of prompt number `prompt`. text: what is shown of it.
nlohmann::json to_json(std::size_t prompt, const RequestOutput& output, const Completion& completion, std::string_view text,
                       double load_seconds, std::uint64_t seed);
/// To standard output, at once. Bytes that are no UTF-8 become U+FFFD.
void print_line(const nlohmann::json& line);

/// `text` of JSON with the control characters escaped that it leaves as they are.
std::string escape_controls(std::string_view text);
/// To standard error: counts, speeds, and the seed to repeat it. At least one output.
void print_summary(std::span<const RequestOutput> all, double load_seconds, std::uint64_t seed);

}  // namespace warploom::cli
