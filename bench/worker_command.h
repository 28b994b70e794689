// `warploom-bench worker`.
#pragma once

#include <CLI/CLI.hpp>

namespace warploom::bench {

/// Runs as the subcommand's callback; a failure is an exception.
CLI::App* add_worker(CLI::App& app);

}  // namespace warploom::bench
