// Runs a program as a user would: arguments, standard input, both outputs, exit status, Ctrl-C.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <sys/types.h>

namespace warploom::test {

struct Outcome {
  int status = -1;  // exit status; 128 + signal if one ended it
  std::string out, err;
};

class Process {
 public:
  explicit Process(const std::vector<std::string>& command);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();  // ends it if it still runs

  void write(const std::string& text);
  void close_input();
  void close_output();  // as a reader that leaves
  void interrupt();     // Ctrl-C
  void terminate();     // SIGTERM
  pid_t pid() const { return pid_; }
  /// Reads until standard output has `bytes` in all. False if it ended before, or did not get there in time.
  bool wait_for_output(std::size_t bytes, int timeout_ms = 60000);
  /// Reads until both outputs have ended, with the input still open. False if they did not in time.
  bool await_end_of_output(int timeout_ms = 60000);
  const std::string& out() const { return outcome_.out; }
  /// Closes the input, reads everything and waits. Ends the process after two minutes, which shows as status 137.
  Outcome finish();

 private:
  bool read_some(int timeout_ms);  // false at the end of both outputs, or if nothing came in time
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  Outcome outcome_;
};

/// Waits until a process has had this many seconds of processors in all: it got that far, however little a busy machine gives it.
/// False if it ended before, or did not get there in two minutes.
bool await_processor_time(pid_t pid, double seconds);
/// Waits until a process has a handler of its own for a signal. False as above.
bool await_handler(pid_t pid, int signal);
/// Whether the system shows in which call a process sleeps, which the next two need.
bool shows_calls(pid_t pid);
/// Waits until the first thread of a process waits for standard input. False if it ended before, or did not in two minutes.
bool await_reading(pid_t pid);
/// Waits until it waits for the reader of its standard output.
bool await_writing(pid_t pid);

/// `warploom ARGUMENTS` with `input` on standard input.
Outcome run_warploom(const std::vector<std::string>& arguments, const std::string& input = "");
Outcome run_program(const std::vector<std::string>& command, const std::string& input = "");

/// The model that scripts/test fetches. Throws if it is missing.
std::string model_path();

/// A fresh file under the build folder that goes when this does.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace warploom::test
