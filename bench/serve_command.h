// `warploom-bench serve`.
#pragma once

#include <CLI/CLI.hpp>

namespace warploom::bench {

/// Runs as the subcommand's callback; a failure is an exception.
CLI::App* add_serve(CLI::App& app);

}  // namespace warploom::bench
