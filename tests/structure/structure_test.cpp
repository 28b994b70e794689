// The repository keeps every rule, and every rule finds a planted violation.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "structure/rules.h"

namespace warploom::structure {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Tree& repository() {
  static const Tree tree = read_tree(WARPLOOM_SOURCE_DIR);
  return tree;
}

struct Case {
  const char* name;
  Violations (*rule)(const Tree&);
  Tree good;            // keeps the rule
  Tree planted;         // added to or replacing files of `good`: breaks it once
  const char* message;  // what the rule then says
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Rule : public testing::TestWithParam<Case> {};

TEST_P(Rule, HoldsInTheRepository) {
  ASSERT_GT(repository().size(), 50u) << "the repository was not found at " << WARPLOOM_SOURCE_DIR;
  EXPECT_THAT(GetParam().rule(repository()), IsEmpty());
}

TEST_P(Rule, FindsAPlantedViolation) {
  Tree tree = GetParam().good;
  EXPECT_THAT(GetParam().rule(tree), IsEmpty());
  for (const auto& [path, text] : GetParam().planted) tree[path] = text;
  EXPECT_THAT(GetParam().rule(tree), ElementsAre(HasSubstr(GetParam().message)));
}

const Tree kLayers = {{"include/warploom/model.h", ""},
                      {"src/core/tensor.h", "#include \"warploom/model.h\"\n"},
                      {"src/cpu/pack.h", "#include \"core/tensor.h\"\n"},
                      {"src/backend/ops.h", ""},
                      {"cuda/runtime/check.h", ""},
                      {"cuda/device/mma.cuh", "#include \"cuda/runtime/check.h\"\n"},
                      {"cuda/toolkit/sample.cu", "#include \"cuda/device/mma.cuh\"\n#include \"core/tensor.h\"\n"},
                      {"cuda/toolkit/args.h", ""},
                      {"cuda/backend/matmul.h", "#include \"cuda/toolkit/args.h\"\n#include \"backend/ops.h\"\n"},
                      {"src/checkpoint/gguf.h", ""},
                      {"src/kv/pool.h", ""},
                      {"src/engine/run.h", "#include \"kv/pool.h\"\n#include <vector>\n"},
                      {"src/tokenizer/bpe.h", "#include \"checkpoint/gguf.h\"\n"},
                      {"src/cli/main.cpp", "#include \"warploom/model.h\"\n"}};

const Tree kOps = {{"src/backend/ops.h", "struct RmsNormArgs {\n};\n"},
                   {"src/backend/backend.h", "virtual void rms_norm(const RmsNormArgs& args) = 0;\n"},
                   {"src/cpu/cpu_backend.cpp", "void rms_norm(const RmsNormArgs& args) override {}\n"},
                   {"tests/backend/rms_norm_test.cpp", "backend->rms_norm({});\n"}};

const Tree kDocuments = {{"README.md", "See [how](CONTRIBUTING.md), `src/cli/`, `build/x`.\n```cpp\nint x;\n```\n"},
                         {"CONTRIBUTING.md", "`src/cli/main.cpp`\n"},
                         {"docs/architecture.md", "[how](../CONTRIBUTING.md#ops), `src/cli/`\n"},
                         {"src/cli/main.cpp", ""},
                         {"examples/generate.cpp", "int x;\n"}};

INSTANTIATE_TEST_SUITE_P(
    Structure, Rule,
    testing::Values(
        Case{"HigherLayer",
             include_ranks,
             kLayers,
             {{"src/core/tensor.h", "\n#include \"cpu/pack.h\"\n"}},
             "src/core/tensor.h:2: "},
        Case{"BlindNeighbour",
             include_ranks,
             kLayers,
             {{"src/kv/pool.h", "#include \"checkpoint/gguf.h\"\n"}},
             "src/kv/pool.h:1: "},
        Case{"BackendFromAbove",
             include_ranks,
             kLayers,
             {{"src/engine/run.h", "#include \"cpu/pack.h\"\n"}},
             "may not include src/cpu"},
        Case{"CudaFromAbove",
             include_ranks,
             kLayers,
             {{"src/kv/pool.h", "#include \"cuda/runtime/check.h\"\n"}},
             "may not include cuda/runtime"},
        Case{"ToolkitSeesTheCudaBackend",
             include_ranks,
             kLayers,
             {{"cuda/toolkit/args.h", "#include \"cuda/backend/matmul.h\"\n"}},
             "may not include cuda/backend"},
        Case{"ToolkitSeesTheSeam",
             include_ranks,
             kLayers,
             {{"cuda/toolkit/args.h", "#include \"backend/ops.h\"\n"}},
             "may not include src/backend"},
        Case{"SharedKernelsSeeTheToolkit",
             include_ranks,
             kLayers,
             {{"cuda/device/mma.cuh", "#include \"cuda/toolkit/args.h\"\n"}},
             "may not include cuda/toolkit"},
        Case{"TheEmulatorSeesTheProduct",
             include_ranks,
             kLayers,
             {{"tools/gpu_emulator/src/a.h", "#include \"core/tensor.h\"\n"}},
             "may not include src/core"},
        Case{"TestsSeeTheEmulatorsInside",
             include_ranks,
             {{"tools/gpu_emulator/src/a.h", ""},
              {"tools/gpu_emulator/include/emulator/emulator.h", ""},
              {"tests/cuda/a.cpp", "#include \"emulator/emulator.h\"\n"}},
             {{"tests/cuda/b.cpp", "#include \"tools/gpu_emulator/src/a.h\"\n"}},
             "may not include tools/gpu_emulator/src"},
        Case{"HostTuning",
             host_tuning,
             {{"tools/gpu_emulator/CMakeLists.txt", "-march=native"}},
             {{"src/CMakeLists.txt", "-march=native"}},
             "src/CMakeLists.txt: -march=native"},
        Case{"UnknownInclude", include_ranks, kLayers, {{"src/engine/run.h", "#include \"nowhere.h\"\n"}}, "is no file"},
        Case{"CudaHeader",
             cuda_headers,
             {{"cuda/matmul.cu", "#include <cublas_v2.h>\n"}},
             {{"src/cpu/pack.h", "#include <cuda_runtime.h>\n"}},
             "<cuda_runtime.h> outside cuda/"},
        Case{"AppInside",
             app_includes,
             kLayers,
             {{"src/cli/main.cpp", "#include \"checkpoint/gguf.h\"\n"}},
             "which is not public"},
        Case{"LongFile",
             file_lengths,
             {{"src/a.cpp", std::string(600, '\n')}},
             {{"src/b.cpp", std::string(601, '\n')}},
             "601 lines"},
        Case{"MachinePath",
             machine_paths,
             {{"a.cpp", "// the /proc file system, and/or/tmp/x\n"}},
             {{"b.cpp", "open(\"/home/someone/x\")\n"}},
             "b.cpp:1: "},
        Case{"OpWithoutCpu", op_twins, kOps, {{"src/cpu/cpu_backend.cpp", ""}}, "src/cpu/cpu_backend.cpp: no rms_norm"},
        Case{"OpWithoutSeam", op_twins, kOps, {{"src/backend/backend.h", ""}}, "src/backend/backend.h: no rms_norm"},
        Case{"OpWithoutCuda",
             op_twins,
             kOps,
             {{"cuda/backend/cuda_backend.cpp", ""}},
             "cuda/backend/cuda_backend.cpp: no rms_norm"},
        Case{"OpWithoutTest", op_twins, kOps, {{"tests/backend/rms_norm_test.cpp", ""}}, "nothing calls rms_norm"},
        Case{"NamedPath",
             named_paths,
             kDocuments,
             {{"CONTRIBUTING.md", "`src/cli/main.h`\n"}},
             "src/cli/main.h is not there"},
        Case{"ReadmeExample", readme_example, kDocuments, {{"examples/generate.cpp", "int y;\n"}}, "differs"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace warploom::structure
