// What is made of measured times: bounds, shares, tables.
#include "bench/cpu/cpu_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "bench/cpu/ceilings.h"

namespace warploom::bench {
namespace {

using testing::HasSubstr;

CpuOp op(std::int64_t bytes, std::int64_t multiply_adds) {
  CpuOp op;
  op.name = "product Q4_1, 8 tokens";
  op.seconds = 4e-6;
  op.bytes = bytes;
  op.multiply_adds = multiply_adds;
  op.int8 = true;
  op.read_ceiling = 50e9;
  op.arithmetic_ceiling = 1000e9;
  return op;
}

TEST(CpuOps, TheTighterCeilingBounds) {
  EXPECT_TRUE(op(100'000, 1'000'000).bound_by_memory());  // 2 us against 1 us
  EXPECT_DOUBLE_EQ(op(100'000, 1'000'000).share(), 0.5);
  EXPECT_FALSE(op(100'000, 3'000'000).bound_by_memory());
  EXPECT_DOUBLE_EQ(op(100'000, 3'000'000).share(), 0.75);
  EXPECT_TRUE(op(100'000, 0).bound_by_memory());
}

TEST(CpuOps, ReportsInEveryFormat) {
  const std::vector<CpuOp> ops = {op(100'000, 3'000'000)};
  EXPECT_THAT(render(ops, "a machine", "markdown"),
              HasSubstr("a machine\n\n| op | us | GB/s | of | G multiply-adds/s | of | bound by | share |\n"));
  EXPECT_THAT(render(ops, "a machine", "markdown"),
              HasSubstr("| product Q4_1, 8 tokens | 4.0 | 25.0 | 50.0 | 750.0 | 1000.0 | int8 | 75% |\n"));
  EXPECT_THAT(render(ops, "a machine", "table"), HasSubstr("750.0  1000.0     int8    75%\n"));
  EXPECT_THAT(render(ops, "", "csv"),
              HasSubstr("\n\"product Q4_1, 8 tokens\",4.00,25.00,50.00,750.00,1000.00,int8,0.750\n"));
  const auto json = nlohmann::json::parse(render(ops, "", "json"));
  EXPECT_EQ(json["ops"][0]["op"], "product Q4_1, 8 tokens");
  EXPECT_DOUBLE_EQ(json["ops"][0]["share"], 0.75);
}

// Ceilings are above what any op reaches, and each instruction set has its own.
TEST(CpuOps, CeilingsAreThoseOfTheInstructionSet) {
  for (const CpuIsa isa : available_cpu_isas()) {
    Ceilings ceilings(1, isa);
    EXPECT_GT(ceilings.int8(), 1e8) << name(isa);
    EXPECT_GT(ceilings.whole_int8(), 1e8) << name(isa);
    EXPECT_GT(ceilings.f32(), 1e8) << name(isa);
    EXPECT_GT(ceilings.read(1 << 20), 1e8) << name(isa);
    EXPECT_EQ(ceilings.int8(), ceilings.int8()) << "it is measured once";
  }
  if (available_cpu_isas().size() < 2) return;
  Ceilings oldest(1, CpuIsa::generic), best(1, available_cpu_isas().back());
  EXPECT_GT(best.int8(), 1.5 * oldest.int8());
  EXPECT_GT(best.f32(), 1.2 * oldest.f32());
}

}  // namespace
}  // namespace warploom::bench
