#include "cli/process.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace warploom::test {

namespace {

using Clock = std::chrono::steady_clock;

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

int left_ms(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// What the kernel shows of a process; empty if it has ended.
std::string proc_file(pid_t pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Looks every 10 ms until `there(stat)` is true of the fields of /proc/PID/stat behind the program's name.
template <typename There>
bool await_process(pid_t pid, const There& there) {
  for (const auto end = Clock::now() + std::chrono::minutes(2); Clock::now() < end;
       std::this_thread::sleep_for(std::chrono::milliseconds(10))) {
    const std::string stat = proc_file(pid, "stat");
    std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
    char state = 0;
    if (!(fields >> state) || state == 'Z') return false;
    if (there(fields)) return true;
  }
  return false;
}

}  // namespace

Process::Process(const std::vector<std::string>& command) {
  std::signal(SIGPIPE, SIG_IGN);  // a child that left must not end the test
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) throw std::runtime_error("no pipe");
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    dup2(in[0], STDIN_FILENO), dup2(out[1], STDOUT_FILENO), dup2(err[1], STDERR_FILENO);
    std::signal(SIGPIPE, SIG_DFL), std::signal(SIGINT, SIG_DFL);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ::close(in[0]), ::close(out[1]), ::close(err[1]);
  in_ = in[1], out_ = out[0], err_ = err[0];
}

Process::~Process() {
  close_fd(in_), close_fd(out_), close_fd(err_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

void Process::write(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(in_, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;  // it reads no more; what it says tells why
    at += static_cast<std::size_t>(n);
  }
}

void Process::close_input() { close_fd(in_); }
void Process::close_output() { close_fd(out_); }
void Process::interrupt() { kill(pid_, SIGINT); }
void Process::terminate() { kill(pid_, SIGTERM); }

bool Process::read_some(int timeout_ms) {
  pollfd fds[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if ((out_ < 0 && err_ < 0) || poll(fds, 2, timeout_ms) <= 0) return false;
  char part[65536];
  const auto take = [&](const pollfd& fd, int& own, std::string& text) {
    if (own < 0 || !(fd.revents & (POLLIN | POLLHUP | POLLERR))) return;
    const ssize_t n = ::read(own, part, sizeof part);
    if (n > 0) text.append(part, static_cast<std::size_t>(n));
    if (n == 0) close_fd(own);
  };
  take(fds[0], out_, outcome_.out);
  take(fds[1], err_, outcome_.err);
  return true;
}

bool Process::wait_for_output(std::size_t bytes, int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (outcome_.out.size() < bytes)
    if (out_ < 0 || !read_some(left_ms(end))) return false;
  return true;
}

bool Process::await_end_of_output(int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (read_some(left_ms(end))) {
  }
  return out_ < 0 && err_ < 0;
}

Outcome Process::finish() {
  close_fd(in_);
  const auto end = Clock::now() + std::chrono::minutes(2);
  while (read_some(left_ms(end))) {
  }
  if (out_ >= 0 || err_ >= 0) kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  outcome_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome_;
}

bool await_processor_time(pid_t pid, double seconds) {
  return await_process(pid, [seconds](std::istringstream& fields) {
    std::string skipped;
    for (int i = 0; i < 10; ++i) fields >> skipped;  // ppid to cmajflt
    double user = 0, system = 0;
    fields >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)) >= seconds;
  });
}

bool await_handler(pid_t pid, int signal) {
  return await_process(pid, [pid, signal](std::istringstream&) {
    const std::string status = proc_file(pid, "status"), key = "SigCgt:";
    const std::size_t at = status.find(key);
    return at != std::string::npos && (std::stoull(status.substr(at + key.size()), nullptr, 16) >> (signal - 1) & 1) != 0;
  });
}

bool shows_calls(pid_t pid) { return !proc_file(pid, "syscall").empty(); }

// /proc/PID/syscall begins with the call in which its first thread sleeps, and the call's first argument. On x86-64 read() is 0
// and write() is 1.
bool await_reading(pid_t pid) {
  return await_process(pid, [pid](std::istringstream&) { return proc_file(pid, "syscall").starts_with("0 0x0 "); });
}
bool await_writing(pid_t pid) {
  return await_process(pid, [pid](std::istringstream&) { return proc_file(pid, "syscall").starts_with("1 0x1 "); });
}

Outcome run_program(const std::vector<std::string>& command, const std::string& input) {
  Process process(command);
  process.write(input);
  return process.finish();
}

Outcome run_warploom(const std::vector<std::string>& arguments, const std::string& input) {
  std::vector<std::string> command = {WARPLOOM_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(command, input);
}

std::string model_path() {
  std::string path = std::string(WARPLOOM_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) throw std::runtime_error(path + " is missing: scripts/test fetches it");
  return path;
}

TemporaryFile::TemporaryFile(const std::string& content) {
  path_ = (std::filesystem::path(WARPLOOM_PROGRAM).parent_path() / "cli_test.XXXXXX").string();
  const int fd = mkstemp(path_.data());
  if (fd < 0 || ::write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    throw std::runtime_error("cannot write " + path_);
  ::close(fd);
}

TemporaryFile::~TemporaryFile() { ::unlink(path_.c_str()); }

}  // namespace warploom::test
