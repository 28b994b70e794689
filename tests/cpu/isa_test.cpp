// The instruction set that is asked for is the one that runs.
#include "cpu/isa.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/model.h"

namespace warploom {
namespace {

TEST(Isa, EachHasCodeOfItsOwn) {
  std::set<const void*> tables, products, attention;
  for (const CpuIsa isa : available_cpu_isas()) {
    const cpu::Kernels& kernels = cpu::kernels_for(isa);
    EXPECT_TRUE(tables.insert(&kernels).second) << name(isa);
    EXPECT_TRUE(products.insert(reinterpret_cast<const void*>(kernels.multiply_quantised)).second) << name(isa);
    EXPECT_TRUE(attention.insert(reinterpret_cast<const void*>(kernels.attend_chunk)).second) << name(isa);
  }
  EXPECT_EQ(&cpu::kernels_for(CpuIsa::automatic), &cpu::kernels_for(available_cpu_isas().back()));
}

TEST(Isa, AModelSaysWhatItRunsOn) {
  const test::TemporaryModel file(test::tiny_model());
  for (const CpuIsa isa : available_cpu_isas()) {
    ModelOptions options;
    options.device.isa = parse_cpu_isa(name(isa));
    options.device.threads = 1;
    EXPECT_THAT(Model::load(file.path(), options)->device().description,
                testing::HasSubstr(std::string(name(isa)) + ", 1 thread"));
  }
}

TEST(Isa, UnknownNamesAreRefused) {
  try {
    (void)parse_cpu_isa("sse9");
    FAIL();
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(
        error.what(),
        "isa: \"sse9\" is not one of automatic, generic, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, avx512_amx");
  }
}

}  // namespace
}  // namespace warploom
