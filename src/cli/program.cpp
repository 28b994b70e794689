#include "cli/program.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/printable.h"
#include "cli/say.h"

namespace warploom::cli {

namespace {

// What to say if the application has commands and the first argument names none of them.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  const auto commands = app.get_subcommands(nullptr);
  if (commands.empty() || argc < 2 || argv[1][0] == '-') return {};
  std::string names;
  for (const CLI::App* command : commands) {
    if (command->get_name() == argv[1]) return {};
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return fmt::format("\"{}\" is not a command; commands are {}", argv[1], names);
}

int parse_and_run(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  try {
    app.parse(argc, argv);
    return body();
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::string unknown = unknown_command(app, argc, argv);
    if (unknown.empty() && dynamic_cast<const CLI::ExtrasError*>(&error))
      unknown = fmt::format("{} (text of several words goes in quotes)", error.what());
    say("{}: {} (see {} --help{})\n", app.get_name(), unknown.empty() ? error.what() : unknown, app.get_name(),
        app.get_subcommands(nullptr).empty() ? "" : fmt::format(", or {} COMMAND --help", app.get_name()));
    return 2;
  } catch (const std::bad_alloc&) {
    say("{}: out of memory\n", app.get_name());
  } catch (const std::exception& error) {
    say("{}: {}\n", app.get_name(), printable(error.what()));  // it may quote a file
  }
  return 1;
}

/// Otherwise the first file that is opened would take the place of a stream that is closed, and be read or written in its
/// stead. Reads and writes of such a stream still fail, but for standard error.
void open_missing_streams() {
  for (const auto& [stream, mode] :
       {std::pair(STDIN_FILENO, O_WRONLY), {STDOUT_FILENO, O_RDONLY}, {STDERR_FILENO, O_WRONLY}})
    if (fcntl(stream, F_GETFD) < 0) static_cast<void>(open("/dev/null", mode));  // takes the lowest number
}

}  // namespace

int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  open_missing_streams();
  std::signal(SIGPIPE, SIG_DFL);  // a reader that leaves ends us quietly
  end_on_signals();
  const int status = parse_and_run(app, argc, argv, body);
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) || !std::cout) {
    if (status == 0) say("{}: cannot write the output\n", app.get_name());
    return status == 0 ? 1 : status;
  }
  return status;
}

}  // namespace warploom::cli
