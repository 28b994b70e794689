// State of the stand-in for the CUDA runtime that its entry points share.
#pragma once

#include <cuda_runtime_api.h>

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
  const Code* code = nullptr;  // decoded at first use
  int dynamic_shared_limit = 48 << 10;
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
bool find_symbol(const void* host, uint64_t& address, size_t& size);

// ---- Streams (runtime_stream.cpp). Work is queued and runs when something waits for it; streams that don't depend on each
// other run in an order drawn from a seed (WARPLOOM_EMULATOR_SEED).
struct Operation {
  std::function<void()> run;
  std::vector<std::shared_ptr<Operation>> after;
  bool done = false;
  double finished = 0;  // seconds
};
std::shared_ptr<Operation> enqueue(cudaStream_t stream, struct Work work);
cudaError_t wait_for(const std::shared_ptr<Operation>& operation);
cudaError_t wait_for_stream(cudaStream_t stream);
cudaError_t wait_for_device();
bool known_stream(cudaStream_t stream);
CUstream_st* resolve(cudaStream_t stream);       // of the default streams' handles too
cudaError_t break_capture(CUstream_st* stream);  // an error where the stream is being captured: waiting ends the capture
std::vector<CUstream_st*> all_streams();

// ---- Memory (runtime_memory.cpp)
bool is_device_address(const void* p);
bool is_pinned(const void* p);

// ---- Device (runtime_device.cpp)
int blocks_per_processor(const Code& code, int block_size, size_t dynamic_shared);

}  // namespace emulator

// What the runtime's handles point at.
struct CUstream_st {
  std::shared_ptr<emulator::Operation> last;
  bool blocking = true;  // waits for the legacy default stream, and it for this one
  unsigned flags = 0;
  int priority = 0;
  CUgraph_st* capture = nullptr;              // what is queued becomes its nodes
  std::vector<CUgraphNode_st*> capture_last;  // which the next node follows
};
struct CUevent_st {
  std::shared_ptr<emulator::Operation> recorded;
  bool timing = true;
  CUgraph_st* capture = nullptr;  // in which it was recorded
  std::vector<CUgraphNode_st*> capture_last;
};
