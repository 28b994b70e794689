#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/program.h"
#include "warploom/version.h"

int main(int argc, char** argv) {
  using namespace warploom::cli;
  CLI::App app("Warploom generates text from transformer language models.", "warploom");
  app.set_version_flag("--version", fmt::format("warploom {}", warploom::version().text));
  app.require_subcommand(1);
  int status = 0;
  add_generate(app, status);
  add_chat(app, status);
  add_tokenize(app);
  add_info(app);
  add_score(app);
  add_compare(app, status);
  return run_program(app, argc, argv, [&] { return status; });
}
