// Steps: their input in pinned and device memory, and the graphs that were captured over it.
#pragma once

#include <list>
#include <vector>

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

  struct Step {
    std::size_t in_bytes = 0;
    void* to = nullptr;  // host memory that out_bytes bytes from device memory `from` are brought back to
    const void* from = nullptr;
    std::size_t out_bytes = 0;
    bool operator==(const Step&) const = default;
  };

  /// Launches a step with this as its input.
  void run(const Step& step, cudaStream_t stream, const std::function<void()>& launch);

  /// The same, for steps that repeat. `calls` are the ops that `launch` launches. The first step with given calls is launched
  /// as it is, which makes all that ops keep by shape; the second is captured, and later ones replay the capture. Steps that cannot be
  /// captured are launched as they are. `set_dependent`, if there is one, says whether `launch` launches dependents (LaunchStream), as
  /// it does unless told otherwise: where a capture is refused, it is tried without. Throws what `launch` throws outside a capture, and
  /// BackendError.
  void run_captured(const Step& step, const std::vector<OpCall>& calls, cudaStream_t stream,
                    const std::function<void()>& launch, const std::function<void(bool)>& set_dependent = nullptr);

 private:
  struct Captured {
    Step step;
    std::vector<OpCall> calls;
    GraphExec graph;       // empty after the first step
    bool refused = false;  // by the runtime or the driver, so that later steps do not try again
  };
  GraphExec capture(const Step& step, cudaStream_t stream, const std::function<void()>& launch);
  void try_capture(Captured& captured, cudaStream_t stream, const std::function<void()>& launch);

  PinnedBuffer host_;
  DeviceBuffer device_;
  std::list<Captured> captured_;  // most recently used first
};

}  // namespace warploom::cuda
