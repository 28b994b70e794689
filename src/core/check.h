// Argument checks, which throw InvalidArgument if they fail. The message is formatted only then, so a check that holds costs
// one branch.
#pragma once

#include <utility>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

/// "NAME is VALUE; it must be BOUND".
template <typename Name, typename Value>
void require(bool ok, const Name& name, const Value& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", name, value, bound));
}

/// Any other message, in fmt's syntax.
template <typename... Args>
void require_that(bool ok, fmt::format_string<Args...> message, Args&&... args) {
  if (!ok) throw InvalidArgument(fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace warploom
