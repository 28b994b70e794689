// Steps: their input in pinned and device memory, and the graphs that were recorded over it.
#pragma once

#include <map>

#include "backend/backend.h"
#include "cuda/runtime/raii.h"

namespace warploom::cuda {

/// Pinned memory with its twin on the device. Owns the graphs of steps that read it, which hold its address.
class CudaStagingBuffer final : public StagingBuffer {
 public:
  explicit CudaStagingBuffer(std::size_t bytes);
  std::byte* host() override { return static_cast<std::byte*>(host_.data()); }
  std::byte* device() override { return static_cast<std::byte*>(device_.data()); }
  std::size_t bytes() const override { return device_.bytes(); }

  /// A step with this as its input on `stream`; `out` is brought back where the step draws. A key that repeats runs as it is the
  /// first time, which makes all that ops keep by shape; the second time it is recorded, and from then on replayed.
  void run(const GraphKey& key, StagingBuffer& out, cudaStream_t stream, bool record_graphs,
           const std::function<void()>& record);

 private:
  struct Recorded {
    bool seen = false;
    GraphExec graph;
  };
  void enqueue(const GraphKey& key, StagingBuffer& out, cudaStream_t stream, const std::function<void()>& record);
  GraphExec capture(const GraphKey& key, StagingBuffer& out, cudaStream_t stream, const std::function<void()>& record);

  PinnedBuffer host_;
  DeviceBuffer device_;
  std::map<std::pair<GraphKey, const StagingBuffer*>, Recorded> recorded_;
};

}  // namespace warploom::cuda
