// Launches.
#include "runtime_launch.h"

#include <atomic>
#include <cstring>

#include "counters.h"
#include "executor.h"
#include "graph.h"
#include "memory.h"

namespace emulator {
namespace {

uint64_t lane_instructions = 0;  // of all kernels so far

struct CallConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<CallConfiguration> call_configurations;

// What stops a launch before it starts, such as an unknown instruction, is told at once: it is a fault of the emulator's.
cudaError_t launch(const void* function, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream,
                   bool cooperative, bool programmatic = false) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  try {
    KernelLaunch l;
    if (const cudaError_t error = prepare(function, grid, block, args, shared, cooperative, l); error != cudaSuccess)
      return result(error);
    l.programmatic = programmatic;
    enqueue(stream, kernel_work(std::move(l)));
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return result(device_error());
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t prepare(const void* function, dim3 grid, dim3 block, void** args, size_t shared, bool cooperative,
                    KernelLaunch& l) {
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
  const Code* code = kernel_code(*kernel);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint32_t* most = code->ast->max_threads;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || threads > 1024 || block.z > 64 || grid.y > 65535 ||
      grid.z > 65535 || grid.x > 0x7fffffff || (most[0] > 0 && threads > uint64_t{most[0]} * most[1] * most[2]))
    return cudaErrorInvalidConfiguration;
  if (shared > dynamic_shared_limit(*kernel, *code)) return cudaErrorInvalidValue;
  if (cooperative && uint64_t{grid.x} * grid.y * grid.z >
                         static_cast<uint64_t>(blocks_per_processor(*code, static_cast<int>(threads), shared)) *
                             static_cast<uint64_t>(processors_at_hand()))
    return cudaErrorCooperativeLaunchTooLarge;
  l = {};
  l.kernel = kernel, l.function = function, l.grid = grid, l.block = block, l.shared = shared, l.cooperative = cooperative;
  l.params.resize(code->param_bytes + 1);
  for (size_t i = 0; i < code->ast->params.size(); ++i)
    std::memcpy(&l.params[code->param_offsets[i]], args[i], code->ast->params[i].size);
  return cudaSuccess;
}

void KernelLaunch::run(bool in_graph) const {
  Launch l;
  l.in_graph = in_graph;
  l.code = kernel->code;
  l.name = kernel->name;
  l.grid[0] = grid.x, l.grid[1] = grid.y, l.grid[2] = grid.z;
  l.block[0] = block.x, l.block[1] = block.y, l.block[2] = block.z;
  l.dynamic_shared = static_cast<uint32_t>(shared);
  l.grid_id = next_launch_id();
  l.cooperative = cooperative;
  l.programmatic = programmatic;
  l.tracks_dependence = tracks_dependence();
  l.unfinished = before != nullptr ? before->unfinished : 0;
  if (cooperative) {
    constexpr size_t kWorkspace = 64;
    l.workspace = memory().constants->allocate(kWorkspace, 256, kInitialised);
    std::memset(reinterpret_cast<void*>(l.workspace), 0, kWorkspace);
  }
  l.params = memory().constants->allocate(params.size(), 256, kInitialised);
  std::memcpy(reinterpret_cast<void*>(l.params), params.data(), params.size());
  std::optional<Failure> failure;
  if (const cudaError_t error = injected("kernel"); error != cudaSuccess)
    failure = Failure{error, "injected fault in " + demangle(l.name)};
  else
    failure = run_grid(l);
  record->unfinished = l.early && l.unfinished != 0 ? l.unfinished : l.grid_id;
  memory().constants->release(l.params);
  if (cooperative) memory().constants->release(l.workspace);
  lane_instructions += l.lanes_issued;
  tick();
  if (failure) set_device_error(failure->error, failure->report);
}

std::vector<void*> KernelLaunch::arguments() {
  std::vector<void*> places;
  for (const uint32_t offset : kernel->code->param_offsets) places.push_back(&params[offset]);
  return places;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

unsigned long long warploom_emulator_lane_instructions() { return lane_instructions; }

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  call_configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (call_configurations.empty()) return result(cudaErrorMissingConfiguration);
  const CallConfiguration c = call_configurations.back();
  call_configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  std::memcpy(stream, &c.stream, sizeof c.stream);
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return launch(kernel, grid, block, args, shared, stream, false);
}
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** args, size_t shared,
                                    cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return launch(kernel, grid, block, args, shared, stream == nullptr ? cudaStreamPerThread : stream, false);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return launch(function, grid, block, args, shared, stream, false);
}
cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** args, size_t shared,
                                        cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return launch(function, grid, block, args, shared, stream, true);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** args) {
  WARPLOOM_ENTRY;
  bool cooperative = false, programmatic = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == cudaLaunchAttributeCooperative) cooperative = config->attrs[i].val.cooperative != 0;
    if (config->attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization)
      programmatic = config->attrs[i].val.programmaticStreamSerializationAllowed != 0;
    if (config->attrs[i].id == cudaLaunchAttributeClusterDimension) {
      const auto& c = config->attrs[i].val.clusterDim;
      if (c.x * c.y * c.z != 1) return result(cudaErrorNotSupported);
    }
  }
  if (device_model().major < 9) programmatic = false;  // earlier devices take and ignore it: CUB asks for it on every one
  if (programmatic) start_tracking_dependence();
  return launch(function, config->gridDim, config->blockDim, args, config->dynamicSmemBytes, config->stream, cooperative,
                programmatic);
}

}  // extern "C"
