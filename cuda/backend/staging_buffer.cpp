#include "cuda/backend/staging_buffer.h"

#include <cstring>

#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kMaxRecorded = 512;  // a graph takes about 100 kB on the device

/// A capture that is under way; whatever happens, it does not stay so.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning to record a step");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    if (!under_way_) return;
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    const Graph dropped(graph);
  }
  Graph finish() {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "recording a step");
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

void CudaStagingBuffer::enqueue(const GraphKey& key, StagingBuffer& out, cudaStream_t stream,
                                const std::function<void()>& record) {
  check(cudaMemcpyAsync(device(), host(), key.bytes, cudaMemcpyHostToDevice, stream),
        "bringing a step's input to the device");
  record();
  if (key.samples)
    check(cudaMemcpyAsync(out.host(), out.device(), out.bytes(), cudaMemcpyDeviceToHost, stream),
          "bringing back a step's tokens");
}

GraphExec CudaStagingBuffer::capture(const GraphKey& key, StagingBuffer& out, cudaStream_t stream,
                                     const std::function<void()>& record) {
  Capture under_way(stream);
  enqueue(key, out, stream, record);
  const Graph graph = under_way.finish();
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph.get(), 0), "preparing a recorded step");
  return GraphExec(exec);
}

void CudaStagingBuffer::run(const GraphKey& key, StagingBuffer& out, cudaStream_t stream, bool record_graphs,
                            const std::function<void()>& record) {
  if (!record_graphs || !key.repeats) return enqueue(key, out, stream, record);
  if (recorded_.size() >= kMaxRecorded) recorded_.clear();
  Recorded& step = recorded_[{key, &out}];
  if (!step.seen) {
    enqueue(key, out, stream, record);
    step.seen = true;
    return;
  }
  if (!step.graph) {
    try {
      step.graph = capture(key, out, stream, record);
    } catch (const OutOfMemory&) {
      return enqueue(key, out, stream, record);  // works as well, but slower
    }
  }
  check(cudaGraphLaunch(step.graph.get(), stream), "replaying a step");
}

}  // namespace warploom::cuda
