// What a report of CUDA ops says of planted figures.
#include "bench/gpu_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace warploom::bench {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

GpuReport planted() {
  GpuReport report;
  report.device.name = "A GPU";
  report.device.capability = 90;
  report.device.driver = 13010;
  report.device.read_gb_per_s = 2000;
  report.device.copy_gb_per_s = 1600;
  report.device.matrix_tflop_per_s = 500;
  // 1 MB in 2 us: 500 GB/s. 1 GFLOP in 4 us: 250 TFLOP/s.
  report.measurements = {{"sample 1", "warm", GpuClock::events, 1e6, 0, {3, 1, 2}},
                         {"attention", "cold", GpuClock::events, 0, 1e9, {5, 3}}};
  return report;
}

TEST(GpuReport, StatesRatesAndSharesOfWhatTheDeviceReaches) {
  const json all = json::parse(render(planted(), "json"));
  EXPECT_EQ(all["device"]["name"], "A GPU");
  EXPECT_EQ(all["device"]["read_gb_per_s"], 2000);
  const json sample = all["measurements"][0], attention = all["measurements"][1];
  EXPECT_EQ(sample["min"], 1);
  EXPECT_EQ(sample["median"], 2);
  EXPECT_EQ(sample["max"], 3);
  EXPECT_EQ(sample["l2"], "warm");
  EXPECT_EQ(sample["timed"], "events");
  EXPECT_DOUBLE_EQ(sample["gb_per_s"].get<double>(), 500);
  EXPECT_DOUBLE_EQ(sample["memory_share"].get<double>(), 0.25);
  EXPECT_FALSE(sample.contains("tflop_per_s"));
  EXPECT_EQ(attention["median"], 4);
  EXPECT_DOUBLE_EQ(attention["tflop_per_s"].get<double>(), 250);
  EXPECT_DOUBLE_EQ(attention["matrix_share"].get<double>(), 0.5);
  EXPECT_FALSE(attention.contains("gb_per_s"));
  EXPECT_FALSE(all.contains("modelled_gpu"));
}

TEST(GpuReport, ADeviceOfUnknownRatesGivesNoShares) {
  GpuReport report = planted();
  report.device = {};
  const json all = json::parse(render(report, "json"));
  ASSERT_FALSE(all["measurements"].empty());
  for (const json& m : all["measurements"]) {
    EXPECT_FALSE(m.contains("memory_share"));
    EXPECT_FALSE(m.contains("matrix_share"));
  }
}

TEST(GpuReport, TablesHoldTheSame) {
  EXPECT_THAT(render(planted(), "markdown"), HasSubstr("| sample 1 | warm | events | 2.0 | 500.0 | 25% |  |  |\n"));
  EXPECT_THAT(render(planted(), "markdown"), HasSubstr("| attention | cold | events | 4.0 |  |  | 250.0 | 50% |\n"));
  EXPECT_THAT(render(planted(), "table"), HasSubstr("compute capability 9.0"));
  EXPECT_THAT(render(planted(), "table"), HasSubstr("driver 13.1"));
  EXPECT_THAT(render(planted(), "table"), Not(HasSubstr("emulator")));
  EXPECT_THAT(render(planted(), "csv"), HasSubstr("\"A GPU\",\"\",\"attention\",cold,\"events\",4,0,1000000000"));
}

TEST(GpuReport, SaysWhatIsModelled) {
  GpuReport report = planted();
  report.modelled_gpu = "h100";
  for (GpuMeasurement& m : report.measurements) m.clock = GpuClock::model;
  const json all = json::parse(render(report, "json"));
  EXPECT_EQ(all["modelled_gpu"], "h100");
  EXPECT_EQ(all["measurements"][0]["timed"], "modelled on h100");
  EXPECT_THAT(render(report, "table"), HasSubstr("its times are modelled on h100, not measured"));
}

// As those of copies and products are on the emulator.
TEST(GpuReport, RatesThatAreNotKnownAreLeftOut) {
  GpuReport report = planted();
  EXPECT_THAT(render(report, "table"),
              HasSubstr("The device reads 2000 GB/s, copies 1600 GB/s, multiplies 500 TFLOP/s (f16)\n"));
  report.device.copy_gb_per_s = report.device.matrix_tflop_per_s = 0;
  report.device.driver = 0;
  EXPECT_THAT(render(report, "table"), HasSubstr("The device reads 2000 GB/s\n"));
  EXPECT_THAT(render(report, "table"), Not(HasSubstr("driver")));
  const json device = json::parse(render(report, "json"))["device"];
  EXPECT_EQ(device["read_gb_per_s"], 2000);
  for (const char* unknown : {"copy_gb_per_s", "matrix_tflop_per_s", "driver"})
    EXPECT_FALSE(device.contains(unknown)) << unknown;
}

}  // namespace
}  // namespace warploom::bench
