// Nodes by hand that are no kernels: copies, fills, the host's functions, graphs within graphs.
#include <numeric>

#include "emulated_device.h"

namespace {

__global__ void add_kernel(int* p, int value) { p[threadIdx.x] += value; }
// Appends `mark` to a log that device threads write one after the other.
__global__ void mark_kernel(int* log, int mark) { log[1 + atomicAdd(&log[0], 1)] = mark; }

struct Graph {
  Graph() { EXPECT_CUDA(cudaGraphCreate(&graph, 0)); }
  ~Graph() {
    EXPECT_CUDA(cudaGraphDestroy(graph));
    if (executable != nullptr) EXPECT_CUDA(cudaGraphExecDestroy(executable));
  }
  void launch() {
    if (executable == nullptr) EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    EXPECT_CUDA(cudaGraphLaunch(executable, nullptr));
    EXPECT_CUDA(cudaDeviceSynchronize());
  }
  cudaGraph_t graph;
  cudaGraphExec_t executable = nullptr;
};
cudaMemsetParams fill_of(void* p, unsigned value, unsigned element, size_t width, size_t pitch = 0, size_t height = 1) {
  cudaMemsetParams params = {};
  params.dst = p;
  params.value = value;
  params.elementSize = element;
  params.width = width;
  params.pitch = pitch;
  params.height = height;
  return params;
}

TEST(GraphNodes, CopyAddCopyBack) {
  std::vector<int> in(64), out(64), other(64, 100);
  std::iota(in.begin(), in.end(), 0);
  DeviceBuffer<int> device(64);
  Graph g;
  cudaGraphNode_t to, add, from;
  EXPECT_CUDA(cudaGraphAddMemcpyNode1D(&to, g.graph, nullptr, 0, device.data(), in.data(), 256, cudaMemcpyHostToDevice));
  int* p = device.data();
  int value = 7;
  void* args[] = {&p, &value};
  cudaKernelNodeParams kernel = {};
  kernel.func = reinterpret_cast<void*>(add_kernel);
  kernel.gridDim = dim3(1);
  kernel.blockDim = dim3(64);
  kernel.kernelParams = args;
  EXPECT_CUDA(cudaGraphAddKernelNode(&add, g.graph, &to, 1, &kernel));
  EXPECT_CUDA(cudaGraphAddMemcpyNode1D(&from, g.graph, &add, 1, out.data(), p, 256, cudaMemcpyDeviceToHost));
  cudaGraphNodeType type;
  EXPECT_CUDA(cudaGraphNodeGetType(from, &type));
  EXPECT_EQ(type, cudaGraphNodeTypeMemcpy);
  cudaGraphNode_t before[4], after[4];
  size_t count = 4;
  EXPECT_CUDA(cudaGraphGetEdges(g.graph, before, after, nullptr, &count));
  ASSERT_EQ(count, 2u);
  EXPECT_EQ(before[0], to);
  EXPECT_EQ(after[1], from);
  EXPECT_CUDA(cudaGraphNodeGetDependentNodes(to, after, nullptr, &(count = 4)));
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(after[0], add);
  g.launch();
  for (int i = 0; i < 64; ++i) ASSERT_EQ(out[i], i + 7);
  EXPECT_CUDA(cudaGraphExecMemcpyNodeSetParams1D(g.executable, to, p, other.data(), 256, cudaMemcpyHostToDevice));
  EXPECT_EQ(cudaGraphExecMemcpyNodeSetParams1D(g.executable, add, p, other.data(), 256, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);  // another type of node
  EXPECT_EQ(cudaGraphMemcpyNodeSetParams1D(from, out.data(), p, 256, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  cudaGetLastError();
  g.launch();
  EXPECT_EQ(out, std::vector<int>(64, 107));
}

TEST(GraphNodes, FillsOfEveryWidthAndOfRows) {
  DeviceBuffer<unsigned char> p(std::vector<unsigned char>(64));
  Graph g;
  cudaGraphNode_t bytes, halves, words;
  const cudaMemsetParams narrow = fill_of(p.data(), 0x11, 1, 3, 8, 2), medium = fill_of(p.data() + 16, 0x2233, 2, 3),
                         wide = fill_of(p.data() + 32, 0x44556677, 4, 2);
  EXPECT_CUDA(cudaGraphAddMemsetNode(&bytes, g.graph, nullptr, 0, &narrow));
  EXPECT_CUDA(cudaGraphAddMemsetNode(&halves, g.graph, nullptr, 0, &medium));
  EXPECT_CUDA(cudaGraphAddMemsetNode(&words, g.graph, nullptr, 0, &wide));
  g.launch();
  std::vector<unsigned char> expected(64);
  for (const int at : {0, 1, 2, 8, 9, 10}) expected[at] = 0x11;
  for (const int at : {16, 18, 20}) expected[at] = 0x33, expected[at + 1] = 0x22;
  for (const int at : {32, 36})
    for (int i = 0; i < 4; ++i) expected[at + i] = static_cast<unsigned char>(0x77 - 0x11 * i);
  EXPECT_EQ(p.host(), expected);
  const cudaMemsetParams other = fill_of(p.data(), 0x99, 1, 1), bad = fill_of(p.data(), 1, 3, 1);
  EXPECT_CUDA(cudaGraphExecMemsetNodeSetParams(g.executable, bytes, &other));
  EXPECT_EQ(cudaGraphMemsetNodeSetParams(bytes, &bad), cudaErrorInvalidValue);
  cudaGetLastError();
  g.launch();
  expected[0] = 0x99;
  EXPECT_EQ(p.host(), expected);
}

TEST(GraphNodes, CopiesOfVolumes) {
  std::vector<int> in(4 * 3 * 2), out(in.size());
  std::iota(in.begin(), in.end(), 1);
  cudaPitchedPtr device;
  const cudaExtent extent = make_cudaExtent(4 * sizeof(int), 3, 2);
  EXPECT_CUDA(cudaMalloc3D(&device, extent));
  EXPECT_GE(device.pitch, extent.width);
  cudaMemcpy3DParms copy = {};
  copy.srcPtr = make_cudaPitchedPtr(in.data(), extent.width, 4, 3);
  copy.dstPtr = device;
  copy.extent = extent;
  copy.kind = cudaMemcpyHostToDevice;
  EXPECT_CUDA(cudaMemcpy3D(&copy));
  // Back, without the first row and slice.
  cudaMemcpy3DParms back = {};
  back.srcPtr = device;
  back.srcPos = make_cudaPos(4, 1, 1);
  back.dstPtr = make_cudaPitchedPtr(out.data(), extent.width, 4, 3);
  back.extent = make_cudaExtent(8, 2, 1);
  back.kind = cudaMemcpyDeviceToHost;
  Graph g;
  cudaGraphNode_t node;
  EXPECT_CUDA(cudaGraphAddMemcpyNode(&node, g.graph, nullptr, 0, &back));
  g.launch();
  std::vector<int> expected(out.size());
  for (int y = 0; y < 2; ++y)
    for (int x = 0; x < 2; ++x) expected[4 * y + x] = in[12 + 4 * (y + 1) + x + 1];
  EXPECT_EQ(out, expected);
  EXPECT_CUDA(cudaFree(device.ptr));
}

TEST(GraphNodes, GraphsWithinGraphs) {
  DeviceBuffer<int> log{std::vector<int>(64)};
  cudaStream_t stream;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  Graph child, parent;
  int *p = log.data(), mark = 1, calls = 0;
  void* args[] = {&p, &mark};
  cudaKernelNodeParams kernel = {};
  kernel.func = reinterpret_cast<void*>(mark_kernel);
  kernel.gridDim = kernel.blockDim = dim3(1);
  kernel.kernelParams = args;
  cudaGraphNode_t first, second, inner, outer, host;
  EXPECT_CUDA(cudaGraphAddKernelNode(&first, child.graph, nullptr, 0, &kernel));
  mark = 2;
  EXPECT_CUDA(cudaGraphAddKernelNode(&second, child.graph, &first, 1, &kernel));
  EXPECT_CUDA(cudaGraphAddChildGraphNode(&inner, parent.graph, nullptr, 0, child.graph));
  mark = 3;
  EXPECT_CUDA(cudaGraphAddKernelNode(&outer, parent.graph, &inner, 1, &kernel));
  const cudaHostNodeParams count{[](void* n) { ++*static_cast<int*>(n); }, &calls};
  EXPECT_CUDA(cudaGraphAddHostNode(&host, parent.graph, &outer, 1, &count));
  cudaGraph_t clone;
  EXPECT_CUDA(cudaGraphClone(&clone, parent.graph));
  parent.launch();
  EXPECT_EQ(calls, 1);
  auto marks = log.host();
  EXPECT_EQ(std::vector<int>(marks.begin(), marks.begin() + 4), (std::vector<int>{3, 1, 2, 3}));
  // An executable graph launched into a capture becomes a child of what is captured.
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_CUDA(cudaGraphLaunch(parent.executable, stream));
  mark_kernel<<<1, 1, 0, stream>>>(p, 4);
  cudaGraph_t captured;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &captured));
  EXPECT_EQ(log.host()[0], 3);
  for (cudaGraph_t graph : {captured, clone}) {
    cudaGraphExec_t executable;
    EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
    EXPECT_CUDA(cudaStreamSynchronize(stream));
    EXPECT_CUDA(cudaGraphExecDestroy(executable));
    EXPECT_CUDA(cudaGraphDestroy(graph));
  }
  EXPECT_EQ(calls, 3);
  marks = log.host();
  EXPECT_EQ(std::vector<int>(marks.begin(), marks.begin() + 11), (std::vector<int>{10, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3}));
  EXPECT_CUDA(cudaStreamDestroy(stream));
}

}  // namespace
