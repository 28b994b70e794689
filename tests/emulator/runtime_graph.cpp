// Graphs: capture of streams, instantiation, update, launch.
#include "runtime.h"

using namespace emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  WARPLOOM_RUNTIME_LOCK;
  CUstream_st* stream = resolve(handle);
  if (handle == nullptr || handle == cudaStreamLegacy) return result(cudaErrorStreamCaptureUnsupported);
  if (!known_stream(handle)) return result(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return result(cudaErrorIllegalState);
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  WARPLOOM_RUNTIME_LOCK;
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
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  WARPLOOM_RUNTIME_LOCK;
  const CUgraph_st* capture = resolve(handle)->capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->broken  ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
// The nodes themselves can't be looked at yet, only counted.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes != nullptr) return result(cudaErrorNotSupported);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  WARPLOOM_RUNTIME_LOCK;
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
  WARPLOOM_RUNTIME_LOCK;
  if (device_error() != cudaSuccess) return result(device_error());
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  for (const auto& node : executable->nodes) enqueue(stream, node);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

}  // extern "C"
