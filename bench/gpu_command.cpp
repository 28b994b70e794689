#include "gpu_command.h"

#include <filesystem>

#include <dlfcn.h>

#include <fmt/format.h>

#include "cli/say.h"
#include "core/without_gpu.h"
#include "decode_step.h"
#include "emulator.h"
#include "gpu/op_tests.h"
#include "gpu_report.h"
#include "modelled_gpus.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr const char* kModule = "libwarploom_gpu_ops.so";

// Never closed: the runtime that it brings has handlers at exit.
auto load_module() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / kModule;
  if (!std::filesystem::exists(path, error))
    throw BackendError(
        fmt::format("--gpu-ops: {} is not there: a build with nvcc of CUDA 13 has it beside warploom-bench. {}",
                    path.string(), kWithoutGpu));
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module) throw BackendError(fmt::format("--gpu-ops: {} cannot be loaded: {}", kModule, dlerror()));
  void* entry = dlsym(module, "warploom_gpu_ops");
  if (!entry) throw BackendError(fmt::format("--gpu-ops: {} is of another build: {}", kModule, dlerror()));
  return reinterpret_cast<decltype(&warploom_gpu_ops)>(entry);
}

void measure_steps(const GpuCommand& command, GpuReport& report, const GpuProgress& progress) {
  cli::ModelChoice choice = command.model;
  choice.device = "cuda";
  const auto model = cli::load_model(choice);
  const auto work = emulated_work(command.ops.modelled_gpu);
  report.model = cli::model_name(choice);
  report.device.name = model->device().description;
  report.device.emulated = work.has_value();
  for (const std::int64_t batch : command.batches) {
    try {
      progress(measure_step(model, command.context, batch, work ? 1 : command.ops.repeats, work ? *work : nullptr));
    } catch (const OutOfMemory& error) {
      if (report.measurements.empty()) throw;
      cli::say("-b: {} is left out: {}\n", batch, error.what());  // what was measured is worth its time
    }
  }
}

}  // namespace

void list_gpu_ops(const GpuOpsOptions& options) {
  check_only(options.only, options.small);
  for (const std::string& name : op_test_names(options.small))
    if (is_wanted(name, options.only)) fmt::print("{}\n", name);
}

void run_gpu_ops(GpuCommand command) {
  if (parse_device_kind(command.model.device) == DeviceKind::cpu)
    throw InvalidArgument("--gpu-ops measures CUDA; --device cpu has none (--ops measures the CPU)");
  check_only(command.ops.only, command.ops.small);
  command.ops.gpu = command.model.gpu;
  command.ops.modelled_gpu = emulate(command.ops.modelled_gpu);
  GpuReport report;
  report.machine = this_machine();
  const GpuProgress progress = [&](const GpuMeasurement& m) {
    if (!command.model.quiet) cli::say("{}, {}: {:.1f} us\n", m.test, m.l2, m.median());
    report.measurements.push_back(m);
  };
  if (command.model.shape.empty()) {
    load_module()(command.ops, report.device, progress);
  } else {
    measure_steps(command, report, progress);
  }
  if (report.device.emulated) report.modelled_gpu = command.ops.modelled_gpu;
  fmt::print("{}", render(report, command.format));
}

}  // namespace warploom::bench
