// Work that streams and graphs hold: what to run, of which type, after what.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "runtime_launch.h"

namespace emulator {

struct Work {
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  std::function<void()> run;             // of all but kernels; may be empty
  std::shared_ptr<KernelLaunch> kernel;  // of a kernel

  void operator()() const {
    if (kernel != nullptr)
      kernel->run();
    else if (run)
      run();
  }
};
inline Work kernel_work(KernelLaunch launch) {
  return {cudaGraphNodeTypeKernel, nullptr, std::make_shared<KernelLaunch>(std::move(launch))};
}

}  // namespace emulator

namespace emulator {
// Of a graph that streams are being captured into; id 0: of none.
struct Capture {
  uint64_t id = 0;
  CUstream_st* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id owner;
  bool broken = false;
};
}  // namespace emulator

struct CUgraphNode_st {
  CUgraph_st* graph;
  size_t index;  // among the graph's nodes
  emulator::Work work;
  std::vector<CUgraphNode_st*> after;       // nodes made before this one
  std::vector<void*> argument_places = {};  // what cudaGraphKernelNodeGetParams hands out
};
struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in an order that respects `after`
  emulator::Capture capture;

  CUgraphNode_st* add(emulator::Work work, std::vector<CUgraphNode_st*> after) {
    nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{this, nodes.size(), std::move(work), std::move(after)}));
    return nodes.back().get();
  }
};
