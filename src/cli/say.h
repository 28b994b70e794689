// Standard error: messages, progress, summaries. An answer never fails because nobody can read them.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace warploom::cli {

/// Writes to standard error at once. What cannot be written is lost: the device is full, the reader has left.
void say_text(std::string_view text);

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_text(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace warploom::cli
