#include "emulator.h"

#include <dlfcn.h>

#include "modelled_gpus.h"
#include "tools/gpu_emulator/include/emulator/emulator.h"

namespace warploom::bench {

namespace {

constexpr double kSectorBytes = 32;

// The CUDA module brings the runtime with it, out of the linker's sight.
template <typename Function>
Function* find(void* runtime, const char* name) {
  return reinterpret_cast<Function*>(dlsym(runtime, name));
}

}  // namespace

std::optional<std::function<DeviceWork()>> emulated_work(const std::string& gpu) {
  void* runtime = dlopen("libcudart.so.13", RTLD_LAZY | RTLD_NOLOAD);
  if (!runtime) return {};
  const auto count = find<decltype(warploom_emulator_count)>(runtime, "warploom_emulator_count");
  const auto reset = find<decltype(warploom_emulator_reset_counters)>(runtime, "warploom_emulator_reset_counters");
  const auto counters = find<decltype(warploom_emulator_counters)>(runtime, "warploom_emulator_counters");
  const auto modelled = find<decltype(warploom_emulator_modelled)>(runtime, "warploom_emulator_modelled");
  if (!count || !reset || !counters || !modelled) return {};
  check_modelled_gpu("the modelled GPU", gpu);
  count(1);
  return [=] {
    WarploomCounters c = {};
    WarploomModelledTime t = {};
    counters("", &c);
    modelled("", gpu.c_str(), &t);
    reset();
    return DeviceWork{t.total, static_cast<double>(c.launches),
                      kSectorBytes * static_cast<double>(c.distinct_sectors_read + c.distinct_sectors_written)};
  };
}

}  // namespace warploom::bench
