// State of the stand-in for the CUDA runtime that its entry points share.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "decoder.h"
#include "device_models.h"
#include "entry.h"

namespace emulator {

struct Kernel {
  std::string name;
  struct Module* module = nullptr;
  const Code* code = nullptr;     // decoded at first use
  int dynamic_shared_limit = -1;  // what cudaFuncSetAttribute said; -1: static and dynamic memory together up to 48 KiB
};
struct Module {
  const void* fatbin = nullptr;
  std::unique_ptr<Program> program;  // parsed at first use
};

// Errors: the last of each host thread (result in entry.h), and the fault of a kernel, which sticks until the process ends.
cudaError_t device_error();
void set_device_error(int error, const std::string& report);

// ---- Modules (runtime_module.cpp)
Kernel* find_kernel(const void* function);  // host function or cudaKernel_t; nullptr where unknown
const Code* kernel_code(Kernel& kernel);    // throws std::runtime_error
// Bytes that a launch may add to the kernel's own shared memory.
inline size_t dynamic_shared_limit(const Kernel& kernel, const Code& code) {
  constexpr uint32_t kUnasked = 48 << 10;
  if (kernel.dynamic_shared_limit >= 0) return static_cast<size_t>(kernel.dynamic_shared_limit);
  return kUnasked - std::min(kUnasked, code.static_shared);
}
bool find_symbol(const void* host, uint64_t& address, size_t& size);

// ---- Streams (runtime_stream.cpp). Work is queued and runs when something waits for it; streams that don't depend on each
// other run in an order drawn from a seed (environment.h).
struct Operation {
  std::function<void()> run;
  std::shared_ptr<struct LaunchRecord> record;  // of a kernel
  std::vector<std::shared_ptr<Operation>> after;
  bool done = false;
  double finished = 0;  // seconds
};
std::shared_ptr<Operation> enqueue(cudaStream_t stream, struct Work work);
bool step_towards(const std::shared_ptr<Operation>& operation);  // false where it is done: for those who poll
cudaError_t wait_for(const std::shared_ptr<Operation>& operation);
cudaError_t wait_for_stream(cudaStream_t stream);
cudaError_t wait_for_device();
uint64_t draw();  // from the seed
bool known_stream(cudaStream_t stream);
CUstream_st* resolve(cudaStream_t stream);  // of the default streams' handles too
std::vector<CUstream_st*> all_streams();
void finish_work();  // of all streams that are not being captured

// ---- Capture (runtime_capture.cpp). What fails here breaks the captures that it would have disturbed.
cudaError_t check_stream(cudaStream_t stream);         // whether work may be queued there
cudaError_t break_capture(const CUstream_st* stream);  // before waiting for or asking about the stream
cudaError_t check_unsafe_call();                       // before what a capture's mode forbids: cudaMalloc and its kin
CUgraph_st* find_capture(uint64_t id);                 // nullptr where it has ended

// ---- Memory (runtime_memory.cpp, runtime_host_memory.cpp)
bool is_device_address(const void* p);  // managed memory too, but not pinned memory
bool is_pinned(const void* p);
bool is_managed(const void* p);
void forget_managed(const void* p);
// ---- Device memory and pools (runtime_pools.cpp)
cudaError_t allocate_device(void** p, size_t bytes);
void trim_pools();  // gives back what they keep beyond their thresholds, as every synchronisation does

// ---- Device (runtime_device.cpp)
int blocks_per_processor(const Code& code, int block_size, size_t dynamic_shared);
int processors_at_hand();  // of all, those that the program's share has (runtime_partition.cpp)

}  // namespace emulator

// What the runtime's handles point at.
struct CUstream_st {
  std::shared_ptr<emulator::Operation> last;
  bool blocking = true;  // waits for the legacy default stream, and it for this one
  unsigned flags = 0;
  int priority = 0;
  uint64_t id = next_id++;
  CUgraph_st* capture = nullptr;              // what is queued becomes its nodes
  std::vector<CUgraphNode_st*> capture_last;  // which the next node follows
  inline static uint64_t next_id = 1;
};
struct CUevent_st {
  std::shared_ptr<emulator::Operation> recorded;
  bool timing = true;
  uint64_t capture = 0;  // in which it was recorded
  std::vector<CUgraphNode_st*> capture_last;
};
