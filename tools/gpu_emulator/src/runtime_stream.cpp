// Streams, waiting, errors.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <set>

#include "environment.h"
#include "graph.h"
#include "holdings.h"
#include "runtime.h"

namespace emulator {
namespace {

using Pointer = std::shared_ptr<Operation>;

struct Streams {
  CUstream_st legacy, per_thread;
  std::set<CUstream_st*> created;
  std::mt19937_64 random{environment().seed};
  std::vector<CUstream_st*> all() {
    std::vector<CUstream_st*> list{&legacy, &per_thread};
    list.insert(list.end(), created.begin(), created.end());
    return list;
  }
};
Streams& streams() {
  static Streams* const instance = new Streams;
  return *instance;
}

thread_local cudaError_t last_error = cudaSuccess;
cudaError_t sticky = cudaSuccess;
std::string sticky_report;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The first operation that must run before `operation`, or itself. Long chains are walked, not recursed.
Operation* first_ready(Operation* operation) {
  while (true) {
    std::erase_if(operation->after, [](const Pointer& p) { return p->done; });
    const size_t count = operation->after.size();
    if (count == 0) return operation;
    operation = operation->after[count == 1 ? 0 : streams().random() % count].get();
  }
}

void execute(Operation& operation) {
  if (sticky == cudaSuccess) operation.run();
  operation.run = nullptr;
  operation.after.clear();
  operation.done = true;
  operation.finished = now();
}

void run_to(const Pointer& target) {
  while (!target->done) {
    const auto list = streams().all();
    CUstream_st* other = list[streams().random() % list.size()];
    if ((streams().random() & 3) == 0 && other->last && !other->last->done)
      execute(*first_ready(other->last.get()));
    else
      execute(*first_ready(target.get()));
  }
}

}  // namespace

CUstream_st* resolve(cudaStream_t stream) {
  if (stream == nullptr || stream == cudaStreamLegacy) return &streams().legacy;
  if (stream == cudaStreamPerThread) return &streams().per_thread;
  return stream;
}
cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
cudaError_t device_error() { return sticky; }
void set_device_error(int error, const std::string& report) {
  if (sticky != cudaSuccess) return;
  sticky = static_cast<cudaError_t>(error);
  last_error = sticky;
  sticky_report = report;
  std::fprintf(stderr, "emulator: %s\n", report.c_str());
}

uint64_t draw() { return streams().random(); }
std::vector<CUstream_st*> all_streams() { return streams().all(); }

bool known_stream(cudaStream_t stream) {
  return resolve(stream) != stream || stream == nullptr || streams().created.contains(stream);
}

// Of the kernel that is last in the stream; null if the last is no kernel, or not alone.
static std::shared_ptr<LaunchRecord> record_before(const CUstream_st& stream) {
  if (stream.capture == nullptr) return stream.last != nullptr ? stream.last->record : nullptr;
  return stream.capture_last.size() == 1 ? stream.capture_last[0]->work.record : nullptr;
}

Pointer enqueue(cudaStream_t handle, Work work) {
  CUstream_st* stream = resolve(handle);
  auto operation = std::make_shared<Operation>();
  if (work.kernel != nullptr && work.kernel->programmatic) work.kernel->before = record_before(*stream);
  if (stream->capture != nullptr) {
    stream->capture_last = {stream->capture->add(std::move(work), std::move(stream->capture_last))};
    operation->done = true;
    return operation;
  }
  operation->record = work.record;
  operation->run = std::move(work);
  auto after = [&](const CUstream_st& s) {
    if (s.last && !s.last->done) operation->after.push_back(s.last);
  };
  after(*stream);
  if (stream == &streams().legacy) {
    for (CUstream_st* s : streams().all())
      if (s != stream && s->blocking) after(*s);
  } else if (stream->blocking) {
    after(streams().legacy);
  }
  stream->last = operation;
  return operation;
}

cudaError_t wait_for(const Pointer& operation) {
  if (operation) run_to(operation);
  trim_pools();
  return result(sticky);
}
cudaError_t wait_for_stream(cudaStream_t stream) {
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = break_capture(resolve(stream)); error != cudaSuccess) return error;
  return wait_for(resolve(stream)->last);
}
void finish_work() {
  for (CUstream_st* s : streams().all()) wait_for(s->last);
}
cudaError_t wait_for_device() {
  cudaError_t error = cudaSuccess;
  for (CUstream_st* s : streams().all())
    if (s->capture != nullptr) error = break_capture(s);
  if (error != cudaSuccess) return error;
  finish_work();
  return result(sticky);
}
bool step_towards(const Pointer& target) {
  if (!target || target->done) return false;
  execute(*first_ready(target.get()));
  return true;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

// The report of the fault that stopped the device, "" where there is none. Tests find it with dlsym.
const char* warploom_emulator_report() { return sticky_report.c_str(); }
// Forgets the fault, which the real runtime never does, so that one process can test many.
void warploom_emulator_clear() {
  WARPLOOM_RUNTIME_LOCK;
  for (CUstream_st* s : streams().all()) wait_for(s->last);
  sticky = last_error = cudaSuccess;
  sticky_report.clear();
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = sticky != cudaSuccess ? sticky : last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return sticky != cudaSuccess ? sticky : last_error; }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  WARPLOOM_DEVICE_ENTRY;
  *stream = new CUstream_st;
  (*stream)->flags = flags;
  (*stream)->priority = std::clamp(priority, -5, 0);
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  streams().created.insert(*stream);
  hold(Held::kStream, *stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  WARPLOOM_ENTRY;
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  WARPLOOM_ENTRY;
  return cudaStreamCreateWithPriority(stream, 0, 0);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (!streams().created.contains(stream)) return result(cudaErrorInvalidResourceHandle);
  const cudaError_t error = wait_for_stream(stream);
  if (CUgraph_st* captured = stream->capture; captured != nullptr && captured->capture.origin == stream) {
    for (CUstream_st* s : streams().all())
      if (s->capture == captured) s->capture = nullptr;
    delete captured;
  }
  streams().created.erase(stream);
  drop(Held::kStream, stream);
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return wait_for_stream(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = break_capture(resolve(stream)); error != cudaSuccess) return error;
  return step_towards(resolve(stream)->last) ? cudaErrorNotReady : result(sticky);
}
cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  WARPLOOM_ENTRY;
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  *flags = resolve(stream)->flags;
  return cudaSuccess;
}
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  WARPLOOM_ENTRY;
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  *priority = resolve(stream)->priority;
  return cudaSuccess;
}
// Windows of the L2 cache and the like change nothing here.
cudaError_t cudaStreamSetAttribute(cudaStream_t stream, cudaStreamAttrID, const cudaStreamAttrValue*) {
  WARPLOOM_ENTRY;
  return known_stream(stream) ? cudaSuccess : result(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamGetDevice(cudaStream_t, int* device) {
  WARPLOOM_ENTRY;
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  enqueue(stream, {cudaGraphNodeTypeHost, [=] { function(data); }, nullptr});
  return cudaSuccess;
}
cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void* data, unsigned) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  if (const cudaError_t error = break_capture(resolve(stream)); error != cudaSuccess) return error;
  enqueue(stream, {cudaGraphNodeTypeHost, [=] { function(stream, cudaSuccess, data); }, nullptr});
  return cudaSuccess;
}
cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  WARPLOOM_ENTRY;
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  *id = resolve(stream)->id;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  WARPLOOM_ENTRY;
  return wait_for_device();
}

}  // extern "C"
