// The subcommands: each adds itself to the application and runs as its callback. A failure is an exception; an exit status
// other than 0 without one goes to `status`.
#pragma once

#include <CLI/CLI.hpp>

namespace warploom::cli {

void add_generate(CLI::App& app, int& status);
void add_chat(CLI::App& app, int& status);
void add_tokenize(CLI::App& app);
void add_info(CLI::App& app);
void add_score(CLI::App& app);
void add_compare(CLI::App& app, int& status);

}  // namespace warploom::cli
