// Graphs: kernels as nodes, what a graph holds, instantiation, update, launch. A launch runs the nodes in an order drawn
// from the seed among those that their dependencies allow.
#include <algorithm>

#include "graph.h"
#include "holdings.h"
#include "runtime.h"

namespace emulator {
namespace {

// One after the other, in an order drawn among those that their dependencies allow.
void run_nodes(const std::vector<CUgraphExec_st::Node>& nodes) {
  std::vector<bool> done(nodes.size());
  for (size_t left = nodes.size(); left > 0; --left) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i)
      if (!done[i] && std::all_of(nodes[i].after.begin(), nodes[i].after.end(), [&](size_t before) { return done[before]; }))
        ready.push_back(i);
    const size_t next = ready[draw() % ready.size()];
    if (device_error() == cudaSuccess) nodes[next].work(true);
    done[next] = true;
  }
}

// Another kernel for a node stands to the others as the one before did.
void keep_place(const Work& from, Work& to) {
  if (from.kernel == nullptr || to.kernel == nullptr) return;
  to.record = to.kernel->record = from.record;
  to.kernel->programmatic = from.kernel->programmatic;
  to.kernel->before = from.kernel->before;
}

}  // namespace

std::vector<CUgraphExec_st::Node> nodes_of(const CUgraph_st& graph) {
  std::vector<CUgraphExec_st::Node> nodes;
  for (const auto& node : graph.nodes) {
    Work work = node->work;
    if (work.kernel != nullptr) work.kernel = std::make_shared<KernelLaunch>(*work.kernel);
    std::vector<size_t> after;
    for (const CUgraphNode_st* before : node->after) after.push_back(before->index);
    std::sort(after.begin(), after.end());
    nodes.push_back({std::move(work), std::move(after)});
  }
  return nodes;
}

Work child_work(std::vector<CUgraphExec_st::Node> nodes) {
  return {cudaGraphNodeTypeGraph, [nodes = std::move(nodes)] { run_nodes(nodes); }, nullptr};
}

cudaError_t add_node(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count, Work work) {
  if (!held(Held::kGraph, graph) || (count > 0 && after == nullptr)) return result(cudaErrorInvalidValue);
  for (size_t i = 0; i < count; ++i)
    if (after[i]->graph != graph) return result(cudaErrorInvalidValue);
  *node = graph->add(std::move(work), {after, after + count});
  return cudaSuccess;
}

cudaError_t exchange_work(cudaGraphNode_t node, Work work) {
  if (node->work.type != work.type) return result(cudaErrorInvalidValue);
  keep_place(node->work, work);
  node->work = std::move(work);
  return cudaSuccess;
}
cudaError_t exchange_work(cudaGraphExec_t executable, cudaGraphNode_t node, Work work) {
  if (!held(Held::kExecutableGraph, executable) || node->index >= executable->nodes.size() ||
      executable->nodes[node->index].work.type != work.type)
    return result(cudaErrorInvalidValue);
  keep_place(executable->nodes[node->index].work, work);
  executable->nodes[node->index].work = std::move(work);
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

namespace {

// A node that is `params`, or an error.
cudaError_t prepare_node(const cudaKernelNodeParams& params, KernelLaunch& launch) {
  if (params.extra != nullptr) return cudaErrorNotSupported;
  try {
    return prepare(params.func, params.gridDim, params.blockDim, params.kernelParams, params.sharedMemBytes, false, launch);
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return device_error();
  }
}

template <class T>
cudaError_t hand_out(const std::vector<T>& all, T* out, size_t* count) {
  if (out != nullptr) std::copy_n(all.begin(), std::min(*count, all.size()), out);
  *count = all.size();
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  WARPLOOM_ENTRY;
  *graph = new CUgraph_st;
  hold(Held::kGraph, *graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  WARPLOOM_ENTRY;
  if (!held(Held::kGraph, graph)) return result(cudaErrorInvalidValue);
  drop(Held::kGraph, graph);
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                   const cudaKernelNodeParams* params) {
  WARPLOOM_ENTRY;
  KernelLaunch launch;
  if (const cudaError_t error = prepare_node(*params, launch); error != cudaSuccess) return result(error);
  return add_node(node, graph, after, count, kernel_work(std::move(launch)));
}
cudaError_t cudaGraphKernelNodeGetParams(cudaGraphNode_t node, cudaKernelNodeParams* params) {
  WARPLOOM_ENTRY;
  if (node->work.kernel == nullptr) return result(cudaErrorInvalidValue);
  KernelLaunch& l = *node->work.kernel;
  node->argument_places = l.arguments();
  *params = {};
  params->func = const_cast<void*>(l.function);
  params->gridDim = l.grid;
  params->blockDim = l.block;
  params->sharedMemBytes = static_cast<unsigned>(l.shared);
  params->kernelParams = node->argument_places.data();
  return cudaSuccess;
}
cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node, const cudaKernelNodeParams* params) {
  WARPLOOM_ENTRY;
  KernelLaunch launch;
  if (const cudaError_t error = prepare_node(*params, launch); error != cudaSuccess) return result(error);
  return exchange_work(node, kernel_work(std::move(launch)));
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  WARPLOOM_ENTRY;
  *type = node->work.type;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  WARPLOOM_ENTRY;
  std::vector<cudaGraphNode_t> all;
  for (const auto& node : graph->nodes) all.push_back(node.get());
  return hand_out(all, nodes, count);
}
cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  WARPLOOM_ENTRY;
  std::vector<cudaGraphNode_t> roots;
  for (const auto& node : graph->nodes)
    if (node->after.empty()) roots.push_back(node.get());
  return hand_out(roots, nodes, count);
}
// Pairs of nodes, the former before the latter.
cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to, cudaGraphEdgeData* edges,
                              size_t* count) {
  WARPLOOM_ENTRY;
  std::vector<cudaGraphNode_t> before, after;
  for (const auto& node : graph->nodes)
    for (CUgraphNode_st* other : node->after) {
      before.push_back(other);
      after.push_back(node.get());
    }
  if (edges != nullptr) std::fill_n(edges, std::min(*count, before.size()), cudaGraphEdgeData{});
  size_t room = *count;
  hand_out(before, from, &room);
  return hand_out(after, to, count);
}
cudaError_t cudaGraphNodeGetDependentNodes(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData*, size_t* count) {
  WARPLOOM_ENTRY;
  std::vector<cudaGraphNode_t> all;
  for (const auto& other : node->graph->nodes)
    if (std::find(other->after.begin(), other->after.end(), node) != other->after.end()) all.push_back(other.get());
  return hand_out(all, nodes, count);
}
cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData*, size_t* count) {
  WARPLOOM_ENTRY;
  return hand_out(node->after, nodes, count);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  WARPLOOM_DEVICE_ENTRY;
  if (!held(Held::kGraph, graph)) return result(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{nodes_of(*graph), nullptr};
  hold(Held::kExecutableGraph, *executable);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  WARPLOOM_ENTRY;
  return cudaGraphInstantiate(executable, graph, flags);
}
cudaError_t cudaGraphInstantiateWithParams(cudaGraphExec_t* executable, cudaGraph_t graph,
                                           cudaGraphInstantiateParams* params) {
  WARPLOOM_ENTRY;
  params->errNode_out = nullptr;
  const cudaError_t error = cudaGraphInstantiate(executable, graph, params->flags);
  params->result_out = error == cudaSuccess ? cudaGraphInstantiateSuccess : cudaGraphInstantiateError;
  return error;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  WARPLOOM_ENTRY;
  if (!held(Held::kExecutableGraph, executable)) return result(cudaErrorInvalidValue);
  drop(Held::kExecutableGraph, executable);
  delete executable;
  return cudaSuccess;
}
// Same nodes of the same types with the same dependencies; what they do may differ.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  WARPLOOM_ENTRY;
  *info = {};
  info->result = cudaGraphExecUpdateSuccess;
  auto nodes = nodes_of(*graph);
  if (nodes.size() != executable->nodes.size()) info->result = cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t i = 0; i < nodes.size() && info->result == cudaGraphExecUpdateSuccess; ++i) {
    if (nodes[i].after != executable->nodes[i].after) info->result = cudaGraphExecUpdateErrorTopologyChanged;
    if (nodes[i].work.type != executable->nodes[i].work.type) info->result = cudaGraphExecUpdateErrorNodeTypeChanged;
    info->errorNode = info->result == cudaGraphExecUpdateSuccess ? nullptr : graph->nodes[i].get();
  }
  if (info->result != cudaGraphExecUpdateSuccess) return result(cudaErrorGraphExecUpdateFailure);
  executable->nodes = std::move(nodes);
  return cudaSuccess;
}
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node,
                                             const cudaKernelNodeParams* params) {
  WARPLOOM_ENTRY;
  KernelLaunch launch;
  if (const cudaError_t error = prepare_node(*params, launch); error != cudaSuccess) return result(error);
  return exchange_work(executable, node, kernel_work(std::move(launch)));
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  if (!held(Held::kExecutableGraph, executable)) return result(cudaErrorInvalidValue);
  if (resolve(stream)->capture != nullptr) return enqueue(stream, child_work(executable->nodes)), cudaSuccess;
  const auto start = enqueue(stream, Work{});
  if (executable->last && !executable->last->done) start->after.push_back(executable->last);
  std::vector<std::shared_ptr<Operation>> operations;
  for (const CUgraphExec_st::Node& node : executable->nodes) {
    auto operation = std::make_shared<Operation>();
    operation->run = [work = node.work] { work(true); };
    operation->after = {start};
    for (const size_t before : node.after) operation->after.push_back(operations[before]);
    operations.push_back(std::move(operation));
  }
  executable->last = enqueue(stream, Work{});
  executable->last->after.insert(executable->last->after.end(), operations.begin(), operations.end());
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}

}  // extern "C"
