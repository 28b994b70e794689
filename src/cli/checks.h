// What options accept, checked on their text, before a conversion could clamp it.
#pragma once

#include <charconv>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace warploom::cli {

/// A whole number in [low, high].
template <typename T>
CLI::Validator whole_number(T low = std::numeric_limits<T>::min(), T high = std::numeric_limits<T>::max()) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        std::string_view digits = text;
        if (digits.starts_with('+')) digits.remove_prefix(1);
        T value{};
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc() && end == digits.data() + digits.size() && value >= low && value <= high) return {};
        return fmt::format("\"{}\" is not a whole number in [{}, {}]", text, low, high);
      },
      "");
}

inline CLI::Validator not_empty() {
  return CLI::Validator([](std::string& text) -> std::string { return text.empty() ? "is empty" : ""; }, "");
}

}  // namespace warploom::cli
