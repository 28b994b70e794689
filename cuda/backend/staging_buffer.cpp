#include "cuda/backend/staging_buffer.h"

#include <algorithm>
#include <cstring>

#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kMaxCaptured = 512;  // a graph takes about 100 kB on the device

/// A capture that is under way; whatever happens, it does not stay so.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning to capture a step");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    if (!under_way_) return;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;  // as finish() leaves it, even if it fails
    static_cast<void>(cudaStreamIsCapturing(stream_, &status));
    cudaGraph_t graph = nullptr;
    if (status != cudaStreamCaptureStatusNone) static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    const Graph dropped(graph);
    static_cast<void>(cudaGetLastError());  // what broke the capture is told by an exception, once
  }
  Graph finish() {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "capturing a step");
    under_way_ = false;
    return Graph(graph);
  }

 private:
  cudaStream_t stream_;
  bool under_way_ = true;
};

}  // namespace

CudaStagingBuffer::CudaStagingBuffer(std::size_t bytes) : host_(bytes, "step buffers"), device_(bytes, "step buffers") {
  std::memset(host_.data(), 0, bytes);
}

void CudaStagingBuffer::run(const Step& step, cudaStream_t stream, const std::function<void()>& launch) {
  check(cudaMemcpyAsync(device(), host(), step.in_bytes, cudaMemcpyHostToDevice, stream),
        "bringing a step's input to the device");
  launch();
  if (step.out_bytes == 0) return;
  check(cudaMemcpyAsync(step.to, step.from, step.out_bytes, cudaMemcpyDeviceToHost, stream),
        "bringing back a step's tokens");
}

GraphExec CudaStagingBuffer::capture(const Step& step, cudaStream_t stream, const std::function<void()>& launch) {
  Capture under_way(stream);
  run(step, stream, launch);
  const Graph graph = under_way.finish();
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph.get(), 0), "preparing a captured step");
  return GraphExec(exec);
}

void CudaStagingBuffer::try_capture(Captured& captured, cudaStream_t stream, const std::function<void()>& launch) {
  try {
    captured.graph = capture(captured.step, stream, launch);
    captured.refused = false;
  } catch (const DeviceFault&) {
    throw;
  } catch (const OutOfMemory&) {
    captured.refused = false;  // a later step may find memory
  } catch (const Error&) {
    captured.refused = true;
  }
}

void CudaStagingBuffer::run_captured(const Step& step, const std::vector<OpCall>& calls, cudaStream_t stream,
                                     const std::function<void()>& launch, const std::function<void(bool)>& set_dependent) {
  const auto found = std::ranges::find_if(captured_, [&](const Captured& c) { return c.step == step && c.calls == calls; });
  if (found == captured_.end()) {
    run(step, stream, launch);
    captured_.push_front({step, calls, GraphExec()});
    if (captured_.size() > kMaxCaptured) captured_.pop_back();
    return;
  }
  captured_.splice(captured_.begin(), captured_, found);
  if (!found->graph && !found->refused) {
    try_capture(*found, stream, launch);
    // On an RTX 5090 others' captures of dependent launches failed (sgl-project/sglang#18596).
    if (found->refused && set_dependent) {
      set_dependent(false);
      try_capture(*found, stream, launch);
      set_dependent(true);
    }
  }
  if (!found->graph) return run(step, stream, launch);  // works as well, but slower; what is wrong with an op is found again
  check(cudaGraphLaunch(found->graph.get(), stream), "replaying a step");
}

}  // namespace warploom::cuda
