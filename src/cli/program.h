// The frame of a program: arguments, errors, exit status.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace warploom::cli {

/// Parses the arguments, runs `body` and returns the exit status: body's own; 0 after help; 1 if something failed or the
/// output could not be written; 2 if the arguments are wrong. Errors are one line on standard error.
int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& body);

}  // namespace warploom::cli
