// Graphs: forks and joins in a capture, nodes by hand, updates, and the order of what no dependency orders.
#include <set>

#include "emulated_device.h"

namespace {

// Appends `mark` to a log that device threads write one after the other.
__global__ void mark_kernel(int* log, int mark) {
  const int at = atomicAdd(&log[0], 1);
  log[1 + at] = mark;
}

struct Streams {
  explicit Streams(int count) : all(count) {
    for (cudaStream_t& s : all) EXPECT_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    EXPECT_CUDA(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    EXPECT_CUDA(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  }
  ~Streams() {
    for (cudaStream_t s : all) cudaStreamDestroy(s);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
  }
  std::vector<cudaStream_t> all;
  cudaEvent_t fork, join;
};

// 1, then 2 and 3 side by side, then 4.
cudaGraph_t diamond(Streams& s, int* log, int last) {
  EXPECT_CUDA(cudaStreamBeginCapture(s.all[0], cudaStreamCaptureModeGlobal));
  mark_kernel<<<1, 1, 0, s.all[0]>>>(log, 1);
  EXPECT_CUDA(cudaEventRecord(s.fork, s.all[0]));
  EXPECT_CUDA(cudaStreamWaitEvent(s.all[1], s.fork, 0));
  mark_kernel<<<1, 1, 0, s.all[1]>>>(log, 2);
  mark_kernel<<<1, 1, 0, s.all[0]>>>(log, 3);
  EXPECT_CUDA(cudaEventRecord(s.join, s.all[1]));
  EXPECT_CUDA(cudaStreamWaitEvent(s.all[0], s.join, 0));
  mark_kernel<<<1, 1, 0, s.all[0]>>>(log, last);
  cudaGraph_t graph = nullptr;
  EXPECT_CUDA(cudaStreamEndCapture(s.all[0], &graph));
  return graph;
}
std::vector<int> marks(const DeviceBuffer<int>& log, int count) {
  const auto all = log.host();
  EXPECT_EQ(all[0], count);
  return {all.begin() + 1, all.begin() + 1 + count};
}

TEST(Graph, ForksAndJoinsAreDependencies) {
  Streams s(2);
  DeviceBuffer<int> log{std::vector<int>(64)};
  cudaGraph_t graph = diamond(s, log.data(), 4);
  size_t count = 0;
  EXPECT_CUDA(cudaGraphGetNodes(graph, nullptr, &count));
  ASSERT_EQ(count, 4u);
  cudaGraphNode_t nodes[4];
  EXPECT_CUDA(cudaGraphGetNodes(graph, nodes, &count));
  const size_t expected[] = {0, 1, 1, 2};
  for (int i = 0; i < 4; ++i) {
    cudaGraphNodeType type;
    EXPECT_CUDA(cudaGraphNodeGetType(nodes[i], &type));
    EXPECT_EQ(type, cudaGraphNodeTypeKernel);
    EXPECT_CUDA(cudaGraphNodeGetDependencies(nodes[i], nullptr, nullptr, &count));
    EXPECT_EQ(count, expected[i]) << i;
  }
  EXPECT_CUDA(cudaGraphGetRootNodes(graph, nullptr, &count));
  EXPECT_EQ(count, 1u);
  // Both orders of what runs side by side come up; the rest holds.
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  std::set<std::vector<int>> orders;
  for (int round = 0; round < 40; ++round) {
    EXPECT_CUDA(cudaMemset(log.data(), 0, 256));
    EXPECT_CUDA(cudaGraphLaunch(executable, s.all[0]));
    EXPECT_CUDA(cudaStreamSynchronize(s.all[0]));
    orders.insert(marks(log, 4));
  }
  EXPECT_EQ(orders, (std::set<std::vector<int>>{{1, 2, 3, 4}, {1, 3, 2, 4}}));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST(Graph, AJoinThatIsMissingIsRefused) {
  Streams s(2);
  DeviceBuffer<int> log{std::vector<int>(64)};
  EXPECT_CUDA(cudaStreamBeginCapture(s.all[0], cudaStreamCaptureModeGlobal));
  EXPECT_CUDA(cudaEventRecord(s.fork, s.all[0]));
  EXPECT_CUDA(cudaStreamWaitEvent(s.all[1], s.fork, 0));
  mark_kernel<<<1, 1, 0, s.all[1]>>>(log.data(), 2);
  cudaGraph_t graph;
  EXPECT_EQ(cudaStreamEndCapture(s.all[1], &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(cudaStreamEndCapture(s.all[0], &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(cudaStreamWaitEvent(s.all[1], s.fork, 0), cudaErrorCapturedEvent);
  cudaGetLastError();
}

TEST(Graph, AnUpdateExchangesWorkAndRefusesAnotherShape) {
  Streams s(2);
  DeviceBuffer<int> log{std::vector<int>(64)};
  cudaGraph_t graph = diamond(s, log.data(), 4), other = diamond(s, log.data(), 9);
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  cudaGraphExecUpdateResultInfo info;
  EXPECT_CUDA(cudaGraphExecUpdate(executable, other, &info));
  EXPECT_EQ(info.result, cudaGraphExecUpdateSuccess);
  EXPECT_CUDA(cudaGraphLaunch(executable, s.all[0]));
  EXPECT_CUDA(cudaStreamSynchronize(s.all[0]));
  EXPECT_EQ(marks(log, 4).back(), 9);

  cudaGraph_t line;
  EXPECT_CUDA(cudaStreamBeginCapture(s.all[0], cudaStreamCaptureModeGlobal));
  for (int i = 0; i < 4; ++i) mark_kernel<<<1, 1, 0, s.all[0]>>>(log.data(), i);
  EXPECT_CUDA(cudaStreamEndCapture(s.all[0], &line));
  EXPECT_EQ(cudaGraphExecUpdate(executable, line, &info), cudaErrorGraphExecUpdateFailure);
  EXPECT_EQ(info.result, cudaGraphExecUpdateErrorTopologyChanged);
  cudaGetLastError();
  EXPECT_CUDA(cudaMemset(log.data(), 0, 256));
  EXPECT_CUDA(cudaGraphLaunch(executable, s.all[0]));  // as it was
  EXPECT_CUDA(cudaStreamSynchronize(s.all[0]));
  EXPECT_EQ(marks(log, 4).back(), 9);
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  for (cudaGraph_t g : {graph, other, line}) EXPECT_CUDA(cudaGraphDestroy(g));
}

TEST(Graph, NodesByHandAndNewParameters) {
  DeviceBuffer<int> log{std::vector<int>(64)};
  int* device = log.data();
  int mark = 5;
  void* args[] = {&device, &mark};
  cudaKernelNodeParams params = {};
  params.func = reinterpret_cast<void*>(mark_kernel);
  params.gridDim = params.blockDim = dim3(1);
  params.kernelParams = args;
  cudaGraph_t graph;
  cudaGraphNode_t first, second;
  EXPECT_CUDA(cudaGraphCreate(&graph, 0));
  EXPECT_CUDA(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &params));
  mark = 6;
  EXPECT_CUDA(cudaGraphAddKernelNode(&second, graph, &first, 1, &params));
  cudaKernelNodeParams got;
  EXPECT_CUDA(cudaGraphKernelNodeGetParams(first, &got));
  EXPECT_EQ(got.func, params.func);
  EXPECT_EQ(*static_cast<int*>(got.kernelParams[1]), 5);
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  mark = 7;
  EXPECT_CUDA(cudaGraphExecKernelNodeSetParams(executable, second, &params));
  mark = 8;  // in the graph alone: what is instantiated keeps its own
  EXPECT_CUDA(cudaGraphKernelNodeSetParams(first, &params));
  EXPECT_CUDA(cudaGraphLaunch(executable, nullptr));
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(marks(log, 2), (std::vector<int>{5, 7}));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

// What one launch's block 0 wrote, the next one's block 1 writes: no race, for launches of a stream are ordered.
__global__ void turn_kernel(int* p, const int* turn) { p[(blockIdx.x + *turn) % 2] = blockIdx.x; }
TEST(Graph, LaunchesOfOneGraphAreLaunchesOfTheirOwn) {
  Streams s(1);
  DeviceBuffer<int> p{std::vector<int>(2)}, turn{std::vector<int>(1)};
  EXPECT_CUDA(cudaStreamBeginCapture(s.all[0], cudaStreamCaptureModeGlobal));
  turn_kernel<<<2, 1, 0, s.all[0]>>>(p.data(), turn.data());
  cudaGraph_t graph;
  EXPECT_CUDA(cudaStreamEndCapture(s.all[0], &graph));
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 4; ++i) {
    EXPECT_CUDA(cudaMemcpy(turn.data(), &i, sizeof i, cudaMemcpyHostToDevice));
    EXPECT_CUDA(cudaStreamSynchronize(nullptr));
    EXPECT_CUDA(cudaGraphLaunch(executable, s.all[0]));
    EXPECT_CUDA(cudaStreamSynchronize(s.all[0]));
    EXPECT_EQ(p.host(), i % 2 == 0 ? (std::vector<int>{0, 1}) : (std::vector<int>{1, 0}));
  }
  EXPECT_STREQ(warploom_emulator_report(), "");
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

}  // namespace
