#include "instruction_cache.h"

#include <algorithm>
#include <list>
#include <mutex>

namespace emulator {
namespace {

struct Kernel {
  const Code* code;
  uint32_t since;  // the launch that fetched it
  uint64_t bytes;  // of the instructions that its launches have run since
};
struct Cache {
  std::mutex mutex;
  std::list<Kernel> kernels;  // the latest launch first
};
Cache& cache() {
  static Cache* const instance = new Cache;
  return *instance;
}

}  // namespace

uint32_t cached_since(const Code* kernel, uint32_t launch) {
  std::list<Kernel>& kernels = cache().kernels;
  const std::lock_guard lock(cache().mutex);
  uint64_t bytes = 0;  // from its last launch on
  const auto found = std::find_if(kernels.begin(), kernels.end(), [&](const Kernel& k) {
    bytes += k.bytes;
    return k.code == kernel;
  });
  if (found != kernels.end() && bytes <= kInstructionCache) {
    kernels.splice(kernels.begin(), kernels, found);
  } else {
    if (found != kernels.end()) kernels.erase(found);
    kernels.push_front({kernel, launch, 0});
  }
  return kernels.front().since;
}

void add_fetched(const Code* kernel, uint64_t instructions) {
  const std::lock_guard lock(cache().mutex);
  for (Kernel& k : cache().kernels)
    if (k.code == kernel) k.bytes += instructions * kInstructionBytes;
}

void forget_cached_code() {
  const std::lock_guard lock(cache().mutex);
  cache().kernels.clear();
}

}  // namespace emulator
