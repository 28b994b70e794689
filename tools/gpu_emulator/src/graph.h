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
  std::function<void()> run;                                                            // of all but kernels; may be empty
  std::shared_ptr<KernelLaunch> kernel;                                                 // of a kernel
  std::shared_ptr<LaunchRecord> record = kernel != nullptr ? kernel->record : nullptr;  // of a kernel, cuBLAS's too

  void operator()(bool in_graph = false) const {
    if (kernel != nullptr)
      kernel->run(in_graph);
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
// What is launched is a copy: later changes of the graph don't reach it.
struct CUgraphExec_st {
  struct Node {
    emulator::Work work;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
  std::shared_ptr<emulator::Operation> last;  // a graph does not run beside itself
};
struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in an order that respects `after`
  emulator::Capture capture;

  CUgraphNode_st* add(emulator::Work work, std::vector<CUgraphNode_st*> after) {
    nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{this, nodes.size(), std::move(work), std::move(after)}));
    return nodes.back().get();
  }
};

namespace emulator {

std::vector<CUgraphExec_st::Node> nodes_of(const CUgraph_st& graph);
// A new node after those, or what is wrong.
cudaError_t add_node(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count, Work work);
// Other work of the same type for a node, of a graph or as instantiated.
cudaError_t exchange_work(cudaGraphNode_t node, Work work);
cudaError_t exchange_work(cudaGraphExec_t executable, cudaGraphNode_t node, Work work);
Work child_work(std::vector<CUgraphExec_st::Node> nodes);

}  // namespace emulator
