// warploom-check-sampler: do draws follow their distributions on this machine or GPU?
#include <chrono>

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/machine.h"
#include "cli/checks.h"
#include "cli/program.h"
#include "cli/say.h"
#include "tools/sampler_check/devices.h"
#include "tools/sampler_check/report.h"
#include "warploom/device.h"

namespace warploom::sampler_check {

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string device = "auto";  // auto: the GPU where there is one that can be used
  int threads = 0;              // of the CPU; 0: one per core
  std::int64_t draws = 1'000'000;
  std::string format = "table";
  bool quiet = false;
};

Device choose(const Options& options) {
  const DeviceKind kind = parse_device_kind(options.device);
  if (kind == DeviceKind::cuda || (kind == DeviceKind::automatic && !cuda_missing())) return cuda_device();
  return cpu_device(options.threads == 0 ? available_cpus() : options.threads);
}

// A line for each test that takes more than a second; on a terminal also how far it is.
class ProgressLines {
 public:
  void operator()(const std::string& test, double share) {
    const auto now = Clock::now();
    if (test != test_) test_ = test, begin_ = last_;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    if (seconds < 1.0) return;
    const bool terminal = isatty(STDERR_FILENO);
    if (share < 1.0) {
      if (terminal) cli::say("\r{}: {:.0f}%", test, 100.0 * share);
    } else {
      cli::say("{}{}: {:.1f} s\n", terminal ? "\r\x1b[K" : "", test, seconds);
    }
  }

 private:
  std::string test_;
  Clock::time_point last_ = Clock::now(), begin_ = last_;
};

// Prints the tests and the verdict. Returns the exit status: 0 where every test passed, else 1.
int run(const Options& options) {
  const bench::Machine machine = bench::this_machine();
  const Device device = choose(options);
  Progress progress;
  if (!options.quiet) progress = ProgressLines();
  const SamplerCheck result = check_sampler(device.sampler, plan_for(options.draws), progress);
  if (options.format == "json") {
    nlohmann::json all = as_json(result);
    all["machine"] = {{"cpu", machine.cpu}, {"cores", machine.cores}, {"memory_gib", machine.memory_gib}};
    all["device"] = device.description;
    fmt::print("{}\n", all.dump(2));
  } else {
    fmt::print("{}, {} cores; {}\n\n{}", machine.cpu, machine.cores, device.description, as_table(result, options.format));
  }
  return result.ok() ? 0 : 1;
}

}  // namespace

}  // namespace warploom::sampler_check

int main(int argc, char** argv) {
  using namespace warploom;
  sampler_check::Options o;
  CLI::App app(
      "Checks that draws have the right distribution on this machine or GPU: a chi-square test of each strategy, tests of "
      "independence, the far tail. The exit status is 1 where a test fails.",
      "warploom-check-sampler");
  app.add_option("--device", o.device, "auto, cpu or cuda")->capture_default_str();
  app.add_option("--threads", o.threads, "CPU threads; 0: one for each core that this process may use")
      ->check(cli::whole_number<int>(0))
      ->capture_default_str();
  app.add_option("--draws", o.draws, "draws of each test; of the tail a tenth")
      ->check(cli::whole_number<std::int64_t>(10'000, 1'000'000'000))
      ->capture_default_str();
  const auto format = app.add_option("--format", o.format, "table, markdown or json")
                          ->check(CLI::IsMember({"table", "markdown", "json"}))
                          ->capture_default_str();
  app.add_flag_callback(
         "--json", [&] { o.format = "json"; }, "short for --format json")
      ->excludes(format);
  app.add_flag("-q,--quiet", o.quiet, "no progress");
  return cli::run_program(app, argc, argv, [&] { return run(o); });
}
