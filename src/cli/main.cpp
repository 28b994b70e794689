#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "cli/commands.h"
#include "warploom/version.h"

int main(int argc, char** argv) {
  using namespace warploom::cli;
  std::signal(SIGPIPE, SIG_DFL);  // a reader that leaves ends us quietly

  CLI::App app("Warploom generates text from transformer language models.", "warploom");
  app.set_version_flag("--version", fmt::format("warploom {}.{}.{}", WARPLOOM_VERSION_MAJOR, WARPLOOM_VERSION_MINOR, WARPLOOM_VERSION_PATCH));
  app.require_subcommand(1);
  int status = 0;
  add_generate(app, status);
  add_chat(app, status);
  add_tokenize(app);
  add_info(app);
  add_score(app);
  add_compare(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "warploom: {} (see warploom --help, or warploom COMMAND --help)\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "warploom: out of memory\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "warploom: {}\n", error.what());
    return 1;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    fmt::print(stderr, "warploom: cannot write the output\n");
    return 1;
  }
  return status;
}
