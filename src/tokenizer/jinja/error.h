// What a template does that this library's interpreter does not know, or that is an error in Jinja too.
#pragma once

#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace warploom::jinja {

/// Its text names the line of the template.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The template called raise_exception.
struct RaisedByTemplate : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fail(int line, fmt::format_string<Args...> format, Args&&... args) {
  throw TemplateError(fmt::format("line {}: {}", line, fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace warploom::jinja
