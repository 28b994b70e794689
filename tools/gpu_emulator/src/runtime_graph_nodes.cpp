// Nodes by hand that are no kernels: copies, fills, the host's functions, graphs within graphs; copies of whole graphs.
#include "copies.h"
#include "holdings.h"
#include "runtime.h"

using namespace emulator;

namespace {

cudaError_t prepare_copy(const cudaMemcpy3DParms& params, Work& work) {
  if (params.srcArray != nullptr || params.dstArray != nullptr) return cudaErrorNotSupported;
  const Copy copy = copy_of(params);
  work = copy_work(copy);
  return check_copy(copy, params.kind);
}
cudaError_t prepare_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Work& work) {
  const Copy copy{{reinterpret_cast<uint64_t>(to), bytes, bytes}, {reinterpret_cast<uint64_t>(from), bytes, bytes}, {bytes}};
  work = copy_work(copy);
  return check_copy(copy, kind);
}
cudaError_t prepare_fill(const cudaMemsetParams& p, Work& work) {
  const Fill fill{
      {reinterpret_cast<uint64_t>(p.dst), p.pitch, 0}, {p.width * p.elementSize, p.height}, p.value, p.elementSize};
  work = fill_work(fill);
  return check_fill(fill);
}
Work host_work(const cudaHostNodeParams& p) {
  return {cudaGraphNodeTypeHost, [p] { p.fn(p.userData); }, nullptr};
}

}  // namespace

extern "C" {

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count) {
  WARPLOOM_ENTRY;
  return add_node(node, graph, after, count, {});
}
cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                 const cudaHostNodeParams* params) {
  WARPLOOM_ENTRY;
  return add_node(node, graph, after, count, host_work(*params));
}
cudaError_t cudaGraphHostNodeSetParams(cudaGraphNode_t node, const cudaHostNodeParams* params) {
  WARPLOOM_ENTRY;
  return exchange_work(node, host_work(*params));
}
cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node,
                                           const cudaHostNodeParams* params) {
  WARPLOOM_ENTRY;
  return exchange_work(executable, node, host_work(*params));
}

cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                   const cudaMemcpy3DParms* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(*params, work); error != cudaSuccess) return result(error);
  return add_node(node, graph, after, count, std::move(work));
}
cudaError_t cudaGraphMemcpyNodeSetParams(cudaGraphNode_t node, const cudaMemcpy3DParms* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(*params, work); error != cudaSuccess) return result(error);
  return exchange_work(node, std::move(work));
}
cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node,
                                             const cudaMemcpy3DParms* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(*params, work); error != cudaSuccess) return result(error);
  return exchange_work(executable, node, std::move(work));
}
cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                     void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(to, from, bytes, kind, work); error != cudaSuccess) return result(error);
  return add_node(node, graph, after, count, std::move(work));
}
cudaError_t cudaGraphMemcpyNodeSetParams1D(cudaGraphNode_t node, void* to, const void* from, size_t bytes,
                                           cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(to, from, bytes, kind, work); error != cudaSuccess) return result(error);
  return exchange_work(node, std::move(work));
}
cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t executable, cudaGraphNode_t node, void* to, const void* from,
                                               size_t bytes, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_copy(to, from, bytes, kind, work); error != cudaSuccess) return result(error);
  return exchange_work(executable, node, std::move(work));
}

cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                   const cudaMemsetParams* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_fill(*params, work); error != cudaSuccess) return result(error);
  return add_node(node, graph, after, count, std::move(work));
}
cudaError_t cudaGraphMemsetNodeSetParams(cudaGraphNode_t node, const cudaMemsetParams* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_fill(*params, work); error != cudaSuccess) return result(error);
  return exchange_work(node, std::move(work));
}
cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node,
                                             const cudaMemsetParams* params) {
  WARPLOOM_ENTRY;
  Work work;
  if (const cudaError_t error = prepare_fill(*params, work); error != cudaSuccess) return result(error);
  return exchange_work(executable, node, std::move(work));
}

// The child is copied: later changes of it don't reach the parent.
cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                                       cudaGraph_t child) {
  WARPLOOM_ENTRY;
  if (!held(Held::kGraph, child)) return result(cudaErrorInvalidValue);
  return add_node(node, graph, after, count, child_work(nodes_of(*child)));
}
cudaError_t cudaGraphClone(cudaGraph_t* clone, cudaGraph_t graph) {
  WARPLOOM_ENTRY;
  if (!held(Held::kGraph, graph)) return result(cudaErrorInvalidValue);
  *clone = new CUgraph_st;
  for (auto& [work, after] : nodes_of(*graph)) {
    std::vector<CUgraphNode_st*> before;
    for (const size_t index : after) before.push_back((*clone)->nodes[index].get());
    (*clone)->add(std::move(work), std::move(before));
  }
  hold(Held::kGraph, *clone);
  return cudaSuccess;
}

}  // extern "C"
