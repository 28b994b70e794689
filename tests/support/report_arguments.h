// The frame of programs that print a report: --help, wrong arguments, errors.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace warploom::test {

/// An argument that cannot be taken; the text says why.
struct WrongArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A whole number from `least` to `most`. Throws WrongArgument.
inline std::int64_t number_of(const std::string& text, const char* what, std::int64_t least, std::int64_t most) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    throw WrongArgument("\"" + text + "\" is no number of " + what + " from " + std::to_string(least) + " to " +
                        std::to_string(most));
  return number;
}

/// Runs `body` on the arguments. Returns the exit status: 0, also after --help, which prints `usage`; 2 after a WrongArgument; 1 after
/// any other exception.
inline int run_report(int argc, char** argv, const char* usage,
                      const std::function<void(const std::vector<std::string>&)>& body) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const std::string_view argument : arguments)
    if (argument == "--help" || argument == "-h") return std::printf("usage: %s\n", usage), 0;
  try {
    for (const std::string& argument : arguments)
      if (argument.starts_with('-')) throw WrongArgument("\"" + argument + "\" is no argument");
    body(arguments);
    return 0;
  } catch (const WrongArgument& error) {
    return std::fprintf(stderr, "%s: %s\nusage: %s\n", argv[0], error.what(), usage), 2;
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s: %s\n", argv[0], error.what()), 1;
  }
}

}  // namespace warploom::test
