// Capture of streams into graphs, and what a capture forbids to the calls beside it.
#include <algorithm>

#include "graph.h"
#include "holdings.h"
#include "runtime.h"

namespace emulator {
namespace {

uint64_t next_capture = 1;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

// Whether every stream that joined the capture has been waited for by the origin.
bool joined(const CUgraph_st& graph) {
  std::vector<bool> reached(graph.nodes.size());
  for (const CUgraphNode_st* last : graph.capture.origin->capture_last) reached[last->index] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;)
    if (reached[i])
      for (const CUgraphNode_st* before : graph.nodes[i]->after) reached[before->index] = true;
  return std::all_of(reached.begin(), reached.end(), [](bool r) { return r; });
}

cudaStreamCaptureStatus status_of(const CUgraph_st* capture) {
  return capture == nullptr        ? cudaStreamCaptureStatusNone
         : capture->capture.broken ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
}

// Work in the legacy default stream would have to wait for captured streams that block, which never run.
cudaError_t check_implicit_wait(const CUstream_st* stream) {
  if (stream != resolve(cudaStreamLegacy)) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (CUstream_st* s : all_streams()) {
    if (!s->blocking || s->capture == nullptr) continue;
    s->capture->capture.broken = true;
    error = cudaErrorStreamCaptureImplicit;
  }
  return result(error);
}

}  // namespace

CUgraph_st* find_capture(uint64_t id) {
  for (const CUstream_st* s : all_streams())
    if (s->capture != nullptr && s->capture->capture.id == id) return s->capture;
  return nullptr;
}

cudaError_t break_capture(const CUstream_st* stream) {
  if (stream->capture == nullptr) return check_implicit_wait(stream);
  stream->capture->capture.broken = true;
  return result(cudaErrorStreamCaptureUnsupported);
}

cudaError_t check_stream(cudaStream_t handle) {
  if (device_error() != cudaSuccess) return result(device_error());
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  const CUstream_st* stream = resolve(handle);
  if (stream->capture == nullptr) return check_implicit_wait(stream);
  return stream->capture->capture.broken ? result(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}

cudaError_t check_unsafe_call() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (CUstream_st* s : all_streams()) {
    if (s->capture == nullptr) continue;
    Capture& c = s->capture->capture;
    const bool forbids = c.owner == std::this_thread::get_id()
                             ? c.mode != cudaStreamCaptureModeRelaxed
                             : c.mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
    if (!forbids) continue;
    c.broken = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return result(error);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  WARPLOOM_DEVICE_ENTRY;
  CUstream_st* stream = resolve(handle);
  if (stream == resolve(cudaStreamLegacy)) return result(cudaErrorStreamCaptureUnsupported);
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return result(cudaErrorIllegalState);
  stream->capture = new CUgraph_st;
  stream->capture->capture = {next_capture++, stream, mode, std::this_thread::get_id(), false};
  stream->capture_last.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  WARPLOOM_ENTRY;
  *graph = nullptr;
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  CUstream_st* stream = resolve(handle);
  CUgraph_st* captured = stream->capture;
  if (captured == nullptr) return result(cudaErrorIllegalState);
  if (captured->capture.origin != stream) return result(cudaErrorStreamCaptureUnmatched);
  if (captured->capture.mode != cudaStreamCaptureModeRelaxed && captured->capture.owner != std::this_thread::get_id())
    return result(cudaErrorStreamCaptureWrongThread);
  const bool whole = joined(*captured), broken = captured->capture.broken;
  for (CUstream_st* s : all_streams())
    if (s->capture == captured) s->capture = nullptr;
  if (broken || !whole) {
    delete captured;
    return result(broken ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
  }
  captured->capture = {};
  *graph = captured;
  hold(Held::kGraph, captured);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  WARPLOOM_ENTRY;
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  *status = status_of(resolve(handle)->capture);
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** last, const cudaGraphEdgeData** edges,
                                     size_t* count) {
  WARPLOOM_ENTRY;
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  const CUstream_st* stream = resolve(handle);
  *status = status_of(stream->capture);
  if (*status != cudaStreamCaptureStatusActive) return cudaSuccess;
  if (id != nullptr) *id = stream->capture->capture.id;
  if (graph != nullptr) *graph = stream->capture;
  if (last != nullptr) *last = stream->capture_last.data();
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = stream->capture_last.size();
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  WARPLOOM_ENTRY;
  std::swap(thread_mode, *mode);
  return cudaSuccess;
}

}  // extern "C"
