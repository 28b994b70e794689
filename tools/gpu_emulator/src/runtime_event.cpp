// Events: points in streams to wait for, to measure between, and where captures fork and join.
#include <algorithm>

#include "graph.h"
#include "holdings.h"
#include "runtime.h"

using namespace emulator;

namespace {

// Before asking about an event. One that was recorded in a capture stands for no work, and asking breaks that capture.
cudaError_t check_event(cudaEvent_t event) {
  if (!held(Held::kEvent, event)) return result(cudaErrorInvalidResourceHandle);
  if (event->capture == 0) return cudaSuccess;
  if (CUgraph_st* capture = find_capture(event->capture); capture != nullptr) capture->capture.broken = true;
  return result(cudaErrorCapturedEvent);
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  WARPLOOM_DEVICE_ENTRY;
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
  if (!held(Held::kEvent, event)) return result(cudaErrorInvalidResourceHandle);
  drop(Held::kEvent, event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  if (!held(Held::kEvent, event)) return result(cudaErrorInvalidResourceHandle);
  const CUstream_st& s = *resolve(stream);
  event->capture = s.capture == nullptr ? 0 : s.capture->capture.id;
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
  if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
  return wait_for(event->recorded);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  return step_towards(event->recorded) ? cudaErrorNotReady : result(device_error());
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  WARPLOOM_ENTRY;
  for (cudaEvent_t event : {start, end})
    if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
  if (device_error() != cudaSuccess) return result(device_error());
  if (!start->timing || !end->timing || !start->recorded || !end->recorded) return result(cudaErrorInvalidResourceHandle);
  if (!start->recorded->done || !end->recorded->done) return result(cudaErrorNotReady);
  *milliseconds = static_cast<float>((end->recorded->finished - start->recorded->finished) * 1e3);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  if (!held(Held::kEvent, event)) return result(cudaErrorInvalidResourceHandle);
  CUstream_st* s = resolve(stream);
  if (event->capture != 0) {
    CUgraph_st* capture = find_capture(event->capture);
    if (capture == nullptr) return result(cudaErrorCapturedEvent);  // that capture has ended
    if (s->capture == nullptr) {                                    // the stream joins the capture
      s->capture = capture;
      s->capture_last.clear();
    }
    if (s->capture != capture) return result(cudaErrorStreamCaptureMerge);
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
