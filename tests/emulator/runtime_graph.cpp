// Graphs: capture of streams, instantiation, update, launch.
#include "holdings.h"
#include "runtime.h"

using namespace emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  WARPLOOM_ENTRY;
  CUstream_st* stream = resolve(handle);
  if (handle == nullptr || handle == cudaStreamLegacy) return result(cudaErrorStreamCaptureUnsupported);
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return result(cudaErrorIllegalState);
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  WARPLOOM_ENTRY;
  *graph = nullptr;
  CUgraph_st* captured = resolve(handle)->capture;
  if (captured == nullptr) return result(cudaErrorIllegalState);
  for (CUstream_st* s : all_streams())
    if (s->capture == captured) s->capture = nullptr;
  if (captured->broken) {
    delete captured;
    return result(cudaErrorStreamCaptureInvalidated);
  }
  *graph = captured;
  hold(Held::kGraph, captured);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  WARPLOOM_ENTRY;
  const CUgraph_st* capture = resolve(handle)->capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->broken  ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  WARPLOOM_ENTRY;
  *graph = new CUgraph_st;
  hold(Held::kGraph, *graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  WARPLOOM_ENTRY;
  drop(Held::kGraph, graph);
  delete graph;
  return cudaSuccess;
}
// The nodes themselves can't be looked at yet, only counted.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  WARPLOOM_ENTRY;
  if (nodes != nullptr) return result(cudaErrorNotSupported);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  WARPLOOM_ENTRY;
  *executable = new CUgraphExec_st{graph->nodes};
  hold(Held::kExecutableGraph, *executable);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  WARPLOOM_ENTRY;
  return cudaGraphInstantiate(executable, graph, flags);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  WARPLOOM_ENTRY;
  drop(Held::kExecutableGraph, executable);
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  WARPLOOM_ENTRY;
  *info = {};
  if (executable->nodes.size() != graph->nodes.size()) {
    info->result = cudaGraphExecUpdateErrorTopologyChanged;
    return result(cudaErrorGraphExecUpdateFailure);
  }
  executable->nodes = graph->nodes;
  info->result = cudaGraphExecUpdateSuccess;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (device_error() != cudaSuccess) return result(device_error());
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  for (const auto& node : executable->nodes) enqueue(stream, node);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}

}  // extern "C"
