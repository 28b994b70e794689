// The environment variables WARPLOOM_EMULATOR_*: what each does, and that a value which cannot be taken ends a program before it
// begins. They count when a program starts, so this one starts itself.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <regex>
#include <set>

#include "emulated_device.h"

namespace {

struct Outcome {
  int status;  // the exit status
  std::string text;
};

// What the test Program.DISABLED_<part> of this program writes, with these variables ("NAME=VALUE NAME=VALUE").
Outcome run(const std::string& part, const std::string& variables) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return {-1, "no /proc/self/exe"};
  const std::string command = "env " + variables + " '" + self +
                              "' --gtest_also_run_disabled_tests --gtest_filter=Program.DISABLED_" + part + " 2>&1";
  Outcome outcome{-1, ""};
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char block[4096];
  while (const size_t n = fread(block, 1, sizeof block, pipe)) outcome.text.append(block, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

#define EXPECT_TEXT(outcome, expression) \
  EXPECT_TRUE(std::regex_search((outcome).text, std::regex(expression))) << (expression) << " in\n" << (outcome).text

// ---- The programs

TEST(Program, DISABLED_TellsOfTheDevice) {
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  std::printf("%s, %zu bytes\n", properties.name, properties.totalGlobalMem);
  void* p;
  EXPECT_EQ(cudaMalloc(&p, properties.totalGlobalMem + 1), cudaErrorMemoryAllocation);
}

__global__ void increment_kernel(int* p) { ++p[threadIdx.x]; }
TEST(Program, DISABLED_RunsAKernel) {
  DeviceBuffer<int> p{std::vector<int>(32, 5)};
  increment_kernel<<<1, 32>>>(p.data());
  EXPECT_EQ(p.host(), std::vector<int>(32, 6));
}

TEST(Program, DISABLED_Allocates) {
  for (int call = 1; call <= 3; ++call) {
    void* p = nullptr;
    std::printf("call %d: %s\n", call, cudaGetErrorName(cudaMalloc(&p, 1000)));
    cudaFree(p);
  }
}

TEST(Program, DISABLED_Leaks) {
  void* p;
  EXPECT_CUDA(cudaMalloc(&p, 1000));
}

__global__ void append_kernel(int* next, char* order, char letter) { order[atomicAdd(next, 1)] = letter; }
TEST(Program, DISABLED_HasIndependentStreams) {
  DeviceBuffer<int> next{std::vector<int>(1)};
  DeviceBuffer<char> order{std::vector<char>(4)};
  cudaStream_t streams[4];
  for (cudaStream_t& stream : streams) EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  for (int i = 0; i < 4; ++i) append_kernel<<<1, 1, 0, streams[i]>>>(next.data(), order.data(), static_cast<char>('a' + i));
  EXPECT_CUDA(cudaDeviceSynchronize());
  const std::vector<char> letters = order.host();
  std::printf("order %s\n", std::string(letters.begin(), letters.end()).c_str());
  for (cudaStream_t stream : streams) EXPECT_CUDA(cudaStreamDestroy(stream));
}

__global__ void long_kernel(int* out, int rounds) {
  unsigned v = threadIdx.x;
  for (int i = 0; i < rounds; ++i) v = v * 1664525 + 1013904223;
  out[threadIdx.x] = static_cast<int>(v);
}
TEST(Program, DISABLED_RunsLong) {
  DeviceBuffer<int> out(32);
  long_kernel<<<1, 32>>>(out.data(), 40000);
  std::printf("ended with %s\n", cudaGetErrorName(cudaDeviceSynchronize()));
}

// ---- What the variables do

TEST(Environment, NamesTheDevice) {
  EXPECT_TEXT(run("TellsOfTheDevice", ""), "A100-SXM4-80GB");
  EXPECT_TEXT(run("TellsOfTheDevice", "WARPLOOM_EMULATOR_DEVICE=rtx4090"), "RTX 4090");
}

TEST(Environment, LimitsMemory) {
  const Outcome small = run("TellsOfTheDevice", "WARPLOOM_EMULATOR_MEMORY=600");
  EXPECT_EQ(small.status, 0) << small.text;
  EXPECT_TEXT(small, ", 629145600 bytes");
  // The usual limit: 8 GiB, or half of what the host has.
  const unsigned long long host = 1ull * sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  unsigned long long bytes = 0;
  const Outcome usual = run("TellsOfTheDevice", "");
  const size_t at = usual.text.find("(emulated), ");
  ASSERT_NE(at, std::string::npos) << usual.text;
  ASSERT_EQ(std::sscanf(usual.text.c_str() + at, "(emulated), %llu bytes", &bytes), 1) << usual.text;
  EXPECT_LE(bytes, std::min(8ull << 30, host / 2));
  EXPECT_GT(bytes, 0);
}

TEST(Environment, HasACallFail) {
  const Outcome failed = run("Allocates", "WARPLOOM_EMULATOR_INJECT=cudaMalloc:2:2");
  EXPECT_TEXT(failed, "call 1: cudaSuccess\ncall 2: cudaErrorMemoryAllocation\ncall 3: cudaSuccess");
}

TEST(Environment, HasAProgramThatLeaksFail) {
  const Outcome leaks = run("Leaks", "WARPLOOM_EMULATOR_LEAKS=1");
  EXPECT_EQ(leaks.status, 1);
  EXPECT_TEXT(leaks, "leaked:\n  device memory no. 1, 1000 bytes");
  EXPECT_EQ(run("Leaks", "WARPLOOM_EMULATOR_LEAKS=0").status, 0);
  EXPECT_EQ(run("Leaks", "").status, 0);
  EXPECT_EQ(run("RunsAKernel", "WARPLOOM_EMULATOR_LEAKS=1").status, 0);
}

TEST(Environment, SeedsTheOrderOfStreams) {
  std::set<std::string> orders;
  for (int seed = 1; seed <= 8; ++seed) {
    const std::string variable = "WARPLOOM_EMULATOR_SEED=" + std::to_string(seed);
    const Outcome one = run("HasIndependentStreams", variable), again = run("HasIndependentStreams", variable);
    std::smatch order, second;
    ASSERT_TRUE(std::regex_search(one.text, order, std::regex("order [a-d]{4}"))) << one.text;
    ASSERT_TRUE(std::regex_search(again.text, second, std::regex("order [a-d]{4}"))) << again.text;
    EXPECT_EQ(order[0].str(), second[0].str()) << seed;
    orders.insert(order[0]);
  }
  EXPECT_GT(orders.size(), 1);
}

TEST(Environment, SetsTheWatchdog) {
  EXPECT_TEXT(run("RunsLong", "WARPLOOM_EMULATOR_WATCHDOG=10000"), "ended with cudaErrorLaunchTimeout");
  EXPECT_TEXT(run("RunsLong", ""), "ended with cudaSuccess");
}

TEST(Environment, PrintsModelledTimes) {
  const Outcome profile = run("RunsAKernel", "WARPLOOM_EMULATOR_PROFILE=h100");
  EXPECT_EQ(profile.status, 0);
  EXPECT_TEXT(profile, "H100[\\s\\S]*increment_kernel");
  EXPECT_TEXT(run("RunsAKernel", "WARPLOOM_EMULATOR_TICKER=rtx5090"),
              "1 kernels, .* RTX 5090 .* would have taken .*modelled");
  EXPECT_FALSE(std::regex_search(run("RunsAKernel", "").text, std::regex("modelled")));
}

TEST(Environment, AnEmptyValueIsNone) {
  for (const char* name : {"DEVICE", "INJECT", "LEAKS", "MEMORY", "PROFILE", "SEED", "THREADS", "TICKER", "WATCHDOG"}) {
    const Outcome got = run("RunsAKernel", std::string("WARPLOOM_EMULATOR_") + name + "=");
    EXPECT_EQ(got.status, 0) << name << ": " << got.text;
    EXPECT_EQ(got.text.find("emulator: "), std::string::npos) << got.text;
  }
}

// Every variable is refused in the same way: its name, its value, what it may be, and status 2 before anything is done.
TEST(Environment, AValueThatCannotBeTakenEndsTheProgram) {
  const std::string gpus = "one of " WARPLOOM_EMULATOR_GPUS;
  const std::string call = "ENTRY_POINT:N:ERROR, such as cudaMalloc:3:2: [^\n]+";
  struct Variable {
    const char* name;
    std::vector<const char*> bad;
    std::string allowed;  // a regular expression
  };
  const Variable variables[] = {
      {"DEVICE", {"h1000", "H100", "h100 "}, gpus},
      {"PROFILE", {"1", "gtx"}, gpus},
      {"TICKER", {"1", "h100,a100"}, gpus},
      {"LEAKS", {"2", "yes", "-1"}, "0 or 1"},
      {"SEED", {"x", "-1", "1.5", "18446744073709551616", "7 "}, "a whole number from 0 to 18446744073709551615"},
      {"THREADS", {"two", "-1", "1025", "0x2"}, "a whole number of host threads from 0 to 1024"},
      {"WATCHDOG", {"0", "long", "-5"}, "a whole number of warp instructions from 1 to 18446744073709551615"},
      {"MEMORY",
       {"0", "-1", "8G", "1e3", "99999999", "18446744073709551616"},
       "a whole number of MiB(, of which this host has [0-9]+,)? from 1 to [0-9]+"},
      {"INJECT",
       {"cudaMalloc", "cudaMalloc:3", "cudaMalloc:0:2", "cudaMalloc:-1:2", "cudaMalloc:1:0", "cudaMalloc:1:1000",
        "cudaMaloc:1:2", "malloc:1:2", ":1:2", "cudaMalloc:1:2:3", "cudaMalloc:one:2"},
       call},
      {"MEMROY",
       {"600"},
       "one of the variables that there are, WARPLOOM_EMULATOR_DEVICE, [^\n]+ WARPLOOM_EMULATOR_WATCHDOG"}};
  for (const Variable& variable : variables)
    for (const std::string value : variable.bad) {
      const std::string given = std::string("WARPLOOM_EMULATOR_") + variable.name + "=" + value;
      const Outcome got = run("RunsAKernel", "'" + given + "'");
      EXPECT_EQ(got.status, 2) << given;
      EXPECT_TRUE(std::regex_match(got.text, std::regex("emulator: " + given + ": give " + variable.allowed + "\n")))
          << given << " gave\n"
          << got.text;
    }
}

TEST(Environment, TakesWhatIsJustWithinItsBounds) {
  for (const char* variable :
       {"SEED=0", "SEED=18446744073709551615", "THREADS=0", "THREADS=1024", "WATCHDOG=18446744073709551615", "MEMORY=1",
        "LEAKS=0", "INJECT=kernel:2147483647:999", "INJECT=*:1000:1", "INJECT=cublasLtMatmul:1:1"}) {
    const Outcome got = run("RunsAKernel", std::string("'WARPLOOM_EMULATOR_") + variable + "'");
    EXPECT_EQ(got.status, 0) << variable << ": " << got.text;
  }
}

}  // namespace
