#include "structure/definitions.h"

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace warploom::structure {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Definitions, AreWhereCallersMayLook) {
  std::ifstream header(WARPLOOM_SOURCE_DIR "/src/backend/backend.h");
  const std::string text{std::istreambuf_iterator<char>(header), {}};
  const Objects objects = read_objects(WARPLOOM_NM, WARPLOOM_OBJECTS);
  EXPECT_GT(objects.size(), 40u);
  EXPECT_THAT(definitions(objects, text, {}), IsEmpty());
}

constexpr const char* kDrawsOnCpu = "_ZN8warploom4drawEv";                       // warploom::draw()
constexpr const char* kCreateCpuBackend = "_ZN8warploom18create_cpu_backendEv";  // warploom::create_cpu_backend()
const std::string kHeader = "std::unique_ptr<Backend> create_cpu_backend();\n";

Objects planted() {
  return {{"src/CMakeFiles/warploom.dir/cpu/draw.cpp.o", {{kDrawsOnCpu, kCreateCpuBackend}, {}}},
          {"src/CMakeFiles/warploom.dir/backend/backend.cpp.o", {{}, {kCreateCpuBackend, "malloc"}}},
          {"src/CMakeFiles/warploom.dir/engine/run.cpp.o", {{}, {"memcpy"}}}};
}

TEST(Definitions, TheFactoryIsNoViolation) { EXPECT_THAT(definitions(planted(), kHeader, {}), IsEmpty()); }

TEST(Definitions, AnEngineThatCallsTheCpuIsFound) {
  Objects objects = planted();
  objects["src/CMakeFiles/warploom.dir/engine/run.cpp.o"].undefined.insert(kDrawsOnCpu);
  EXPECT_THAT(definitions(objects, kHeader, {}), ElementsAre(HasSubstr("src/engine/ calls warploom::draw()")));
  EXPECT_THAT(definitions(objects, kHeader, {"warploom::draw"}), IsEmpty());
  // A header's inline function, of which every caller has a copy.
  objects["src/CMakeFiles/warploom.dir/engine/run.cpp.o"].defined.insert(kDrawsOnCpu);
  EXPECT_THAT(definitions(objects, kHeader, {}), IsEmpty());
}

TEST(Definitions, AToolkitThatCallsTheBackendIsFound) {
  EXPECT_THAT(definitions({{"cuda/backend/matmul_embed.cu.o", {{kDrawsOnCpu}, {}}},
                           {"cuda/toolkit/CMakeFiles/warploom_cuda.dir/sampling/sample.cpp.o", {{}, {kDrawsOnCpu}}}},
                          kHeader, {}),
              ElementsAre(HasSubstr("cuda/toolkit/ calls warploom::draw()")));
}

}  // namespace
}  // namespace warploom::structure
