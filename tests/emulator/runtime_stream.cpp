// Streams, events, waiting, errors.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>

#include "graph.h"
#include "holdings.h"
#include "runtime.h"

namespace emulator {
namespace {

using Pointer = std::shared_ptr<Operation>;

struct Streams {
  CUstream_st legacy, per_thread;
  std::set<CUstream_st*> created;
  std::mt19937_64 random{[] {
    const char* seed = std::getenv("WARPLOOM_EMULATOR_SEED");
    return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1ull;
  }()};
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
cudaError_t break_capture(CUstream_st* stream) {
  if (stream->capture == nullptr) return cudaSuccess;
  stream->capture->broken = true;
  return result(cudaErrorStreamCaptureUnsupported);
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

std::vector<CUstream_st*> all_streams() { return streams().all(); }

bool known_stream(cudaStream_t stream) {
  return resolve(stream) != stream || stream == nullptr || streams().created.contains(stream);
}

Pointer enqueue(cudaStream_t handle, Work work) {
  CUstream_st* stream = resolve(handle);
  auto operation = std::make_shared<Operation>();
  if (stream->capture != nullptr) {
    stream->capture_last = {stream->capture->add(std::move(work), std::move(stream->capture_last))};
    operation->done = true;
    return operation;
  }
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
  return result(sticky);
}
cudaError_t wait_for_stream(cudaStream_t stream) {
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = break_capture(resolve(stream)); error != cudaSuccess) return error;
  return wait_for(resolve(stream)->last);
}
cudaError_t wait_for_device() {
  for (CUstream_st* s : streams().all())
    if (const cudaError_t error = break_capture(s); error != cudaSuccess) return error;
  for (CUstream_st* s : streams().all()) wait_for(s->last);
  return result(sticky);
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
  WARPLOOM_ENTRY;
  *stream = new CUstream_st;
  (*stream)->flags = flags;
  (*stream)->priority = priority;
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
  const auto last = resolve(stream)->last;
  if (!last || last->done) return result(sticky);
  execute(*first_ready(last.get()));  // so that polling ends
  return cudaErrorNotReady;
}
cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  WARPLOOM_ENTRY;
  *flags = resolve(stream)->flags;
  return cudaSuccess;
}
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  WARPLOOM_ENTRY;
  *priority = resolve(stream)->priority;
  return cudaSuccess;
}
cudaError_t cudaStreamGetDevice(cudaStream_t, int* device) {
  WARPLOOM_ENTRY;
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  WARPLOOM_ENTRY;
  enqueue(stream, {cudaGraphNodeTypeHost, [=] { function(data); }, nullptr});
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  WARPLOOM_ENTRY;
  return wait_for_device();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  WARPLOOM_ENTRY;
  *event = new CUevent_st;
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  hold(Held::kEvent, *event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  WARPLOOM_ENTRY;
  return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  WARPLOOM_ENTRY;
  drop(Held::kEvent, event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  const CUstream_st& s = *resolve(stream);
  event->capture = s.capture;
  event->capture_last = s.capture_last;
  event->recorded = s.capture == nullptr ? enqueue(stream, {}) : nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  WARPLOOM_ENTRY;
  return cudaEventRecord(event, stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  WARPLOOM_ENTRY;
  return wait_for(event->recorded);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  WARPLOOM_ENTRY;
  if (!event->recorded || event->recorded->done) return result(sticky);
  execute(*first_ready(event->recorded.get()));
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  WARPLOOM_ENTRY;
  if (!start->timing || !end->timing || !start->recorded || !end->recorded) return result(cudaErrorInvalidResourceHandle);
  if (!start->recorded->done || !end->recorded->done) return result(cudaErrorNotReady);
  *milliseconds = static_cast<float>((end->recorded->finished - start->recorded->finished) * 1e3);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  WARPLOOM_ENTRY;
  CUstream_st* s = resolve(stream);
  if (event->capture != nullptr) {
    const auto all = all_streams();
    if (std::none_of(all.begin(), all.end(), [&](const CUstream_st* other) { return other->capture == event->capture; }))
      return result(cudaErrorCapturedEvent);  // that capture has ended
    if (s->capture == nullptr) {              // the stream joins the capture
      s->capture = event->capture;
      s->capture_last.clear();
    }
    if (s->capture != event->capture) return result(cudaErrorStreamCaptureMerge);
    for (CUgraphNode_st* node : event->capture_last)
      if (std::find(s->capture_last.begin(), s->capture_last.end(), node) == s->capture_last.end())
        s->capture_last.push_back(node);
    return cudaSuccess;
  }
  if (s->capture != nullptr) return result(cudaErrorStreamCaptureIsolation);  // an event from outside of the capture
  const auto operation = enqueue(stream, {});
  if (event->recorded && !event->recorded->done) operation->after.push_back(event->recorded);
  return cudaSuccess;
}

}  // extern "C"
