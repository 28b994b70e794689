#include "calibration.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "calibrate/devices.h"
#include "calibrate/report.h"
#include "machine.h"
#include "warploom/device.h"

namespace warploom::bench {

namespace {

using Clock = std::chrono::steady_clock;

calibrate::Device choose(const CalibrationOptions& options, const Machine& machine) {
  const DeviceKind kind = parse_device_kind(options.device);
  if (kind == DeviceKind::cuda || (kind == DeviceKind::automatic && !calibrate::cuda_missing()))
    return calibrate::cuda_device();
  return calibrate::cpu_device(options.threads == 0 ? std::max(1, machine.cores) : options.threads);
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
      if (terminal) fmt::print(stderr, "\r{}: {:.0f}%", test, 100.0 * share);
    } else {
      fmt::print(stderr, "{}{}: {:.1f} s\n", terminal ? "\r\x1b[K" : "", test, seconds);
    }
  }

 private:
  std::string test_;
  Clock::time_point last_ = Clock::now(), begin_ = last_;
};

}  // namespace

int run_calibration(const CalibrationOptions& options) {
  const Machine machine = this_machine();
  const calibrate::Device device = choose(options, machine);
  calibrate::Progress progress;
  if (!options.quiet) progress = ProgressLines();
  const calibrate::Calibration result = calibrate::calibrate(device.sampler, calibrate::plan_for(options.draws), progress);
  if (options.format == "json") {
    nlohmann::json all = calibrate::as_json(result);
    all["machine"] = {{"cpu", machine.cpu}, {"cores", machine.cores}, {"memory_gib", machine.memory_gib}};
    all["device"] = device.description;
    fmt::print("{}\n", all.dump(2));
  } else {
    fmt::print("{}, {} cores; {}\n\n{}", machine.cpu, machine.cores, device.description,
               calibrate::as_table(result, options.format));
  }
  return result.ok() ? 0 : 1;
}

}  // namespace warploom::bench
