// Every block of every type against what the PyPI package gguf makes of it (tests/data/make_quants.py).
#include "checkpoint/quants.h"

#include <cmath>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace warploom {
namespace {

std::vector<std::byte> unhex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST(Quants, EqualThePackageGgufBlockByBlock) {
  std::ifstream file(std::string(WARPLOOM_TEST_DATA) + "/quants.json");
  const auto cases = nlohmann::json::parse(file);
  int types = 0;
  for (const WeightType type :
       {WeightType::f32, WeightType::f16, WeightType::bf16, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0,
        WeightType::q5_1, WeightType::q8_0, WeightType::q4_k, WeightType::q5_k, WeightType::q6_k}) {
    const auto& c = cases.at(std::string(traits(type).name));
    const std::vector<std::byte> blocks = unhex(c["blocks"]), expected = unhex(c["values"]);
    std::vector<float> want(expected.size() / 4);
    std::memcpy(want.data(), expected.data(), expected.size());
    WeightView view;
    view.type = type;
    view.rows = 1;
    view.cols = static_cast<std::int64_t>(want.size());
    view.data = blocks.data();
    ASSERT_EQ(view.bytes(), blocks.size()) << traits(type).name;
    std::vector<float> got(want.size());
    dequantize_row(view, 0, got);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(want[i])) {
        ASSERT_TRUE(std::isnan(got[i])) << traits(type).name << " at " << i;
      } else {
        ASSERT_EQ(got[i], want[i]) << traits(type).name << " at " << i;
      }
    }
    ++types;
  }
  EXPECT_EQ(types, 11);
}

}  // namespace
}  // namespace warploom
