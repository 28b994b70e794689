// Products of panels have the same bits on every instruction set, one panel at a time and two, wherever weights are fetched to.
#include <bit>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/divide.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/packed.h"
#include "support/same_bits.h"
#include "support/sanitized.h"

namespace warploom::cpu {
namespace {

// Such that strips (cpu/kernels/strips.h) differ in length if they can.
constexpr std::int64_t cols_of(const PackedFormat& format) {
  return super_block_scale_bytes(format.scales) ? 3 * kSuperBlockInputs : 17 * kQuantBlockInputs;
}

struct Named {
  const char* name;
  PackedFormat format;
};
const Named kFormats[] = {
    {"Q4_1", {.quantised = true, .bits = CodeBits::four, .scales = ScaleKind::affine}},
    {"Q8_0", {.quantised = true, .bits = CodeBits::eight, .scales = ScaleKind::symmetric}},
    {"Q4_0", {.quantised = true, .bits = CodeBits::four, .scales = ScaleKind::symmetric}},
    {"Q5_0", {.quantised = true, .bits = CodeBits::five, .scales = ScaleKind::symmetric}},
    {"Q5_1", {.quantised = true, .bits = CodeBits::five, .scales = ScaleKind::affine}},
    {"Q4_K", {.quantised = true, .bits = CodeBits::four, .scales = ScaleKind::super_block_affine}},
    {"Q5_K", {.quantised = true, .bits = CodeBits::five, .scales = ScaleKind::super_block_affine}},
    {"Q6_K", {.quantised = true, .bits = CodeBits::six, .scales = ScaleKind::super_block_symmetric}},
};

// Panels as cpu/packed.h lays them out: any codes, and scales that are small positive numbers.
class Panels {
 public:
  Panels(const PackedFormat& format, std::int64_t rows, std::mt19937& random)
      : format_(format), rows_(rows), cols_(cols_of(format)), panel_bytes_(bytes_of_panel(format)) {
    bytes_.resize(static_cast<std::size_t>(ceil_div(rows, kPanelRows)) * panel_bytes_);
    for (std::byte& b : bytes_) b = static_cast<std::byte>(random());
    for (std::size_t at = 0; at < bytes_.size(); at += panel_bytes_) set_scales(bytes_.data() + at, random);
  }

  // [tokens, rows]
  std::vector<float> times(const std::vector<float>& x, std::int64_t tokens, CpuIsa isa, ProductPlan plan,
                           const std::vector<float>& bias) const {
    const Kernels& kernels = kernels_for(isa);
    const std::int64_t blocks = cols_ / kQuantBlockInputs;
    std::vector<ActivationBlock> inputs(static_cast<std::size_t>(ceil_div<std::int64_t>(tokens, kTokenGroup) * blocks));
    for (std::int64_t t = 0; t < tokens; t += kTokenGroup)
      kernels.quantise_group(x.data() + t * cols_, cols_, static_cast<int>(std::min<std::int64_t>(kTokenGroup, tokens - t)),
                             cols_, inputs.data() + t / kTokenGroup * blocks);
    std::vector<float> out(static_cast<std::size_t>(tokens * rows_), -1.0f);
    kernels.multiply_quantised({.format = format_,
                                .panels = bytes_.data(),
                                .panel_bytes = panel_bytes_,
                                .rows = rows_,
                                .cols = cols_,
                                .tokens = tokens,
                                .inputs = inputs.data(),
                                .bias = bias.empty() ? nullptr : bias.data(),
                                .out = out.data(),
                                .out_stride = rows_,
                                .plan = plan});
    return out;
  }

 private:
  static std::size_t bytes_of_panel(const PackedFormat& format) {
    const std::int64_t cols = cols_of(format);
    return cols / kQuantBlockInputs * (block_scale_bytes(format.scales) + block_code_bytes(format.bits)) +
           cols / kSuperBlockInputs * super_block_scale_bytes(format.scales);
  }
  static void set_halves(std::byte* at, std::size_t bytes, std::mt19937& random) {
    for (std::size_t i = 0; i < bytes; i += 2) {
      const std::uint16_t half = static_cast<std::uint16_t>(0x2000 + random() % 0x800);  // from 2^-7 to 2^-5
      std::memcpy(at + i, &half, sizeof half);
    }
  }
  void set_scales(std::byte* panel, std::mt19937& random) const {
    const std::size_t super = super_block_scale_bytes(format_.scales), own = block_scale_bytes(format_.scales);
    for (std::int64_t b = 0; b < cols_ / kQuantBlockInputs; ++b) {
      if (super != 0 && b % (kSuperBlockInputs / kQuantBlockInputs) == 0) {
        set_halves(panel, super, random);
        panel += super;
      }
      if (super == 0) set_halves(panel, own, random);
      panel += own + block_code_bytes(format_.bits);
    }
  }

  PackedFormat format_;
  std::int64_t rows_, cols_;
  std::size_t panel_bytes_;
  std::vector<std::byte> bytes_;
};

template <typename Product>
void expect_same_bits_everywhere(const Product& product, const char* what) {
  const std::vector<float> expected = product(CpuIsa::generic, ProductPlan{});
  for (const CpuIsa isa : available_cpu_isas()) {
    for (const bool pairs : {false, true}) {
      for (const Fetch fetch : {Fetch::nowhere, Fetch::first_cache, Fetch::second_cache}) {
        if (test::kSanitized && fetch != Fetch::second_cache) continue;  // it does not look at what is fetched
        ASSERT_TRUE(test::same_bits(product(isa, ProductPlan{.fetch = fetch, .pairs = pairs}), expected))
            << fmt::format("{}, {}, pairs {}", what, name(isa), pairs);
      }
    }
  }
}

TEST(Products, HaveTheSameBitsOneOrTwoPanelsAtATime) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const Named& named : kFormats) {
    for (const std::int64_t rows : {1, 16, 17, 32, 48, 75}) {
      const Panels panels(named.format, rows, random);
      std::vector<float> bias(rows % 2 ? static_cast<std::size_t>(rows) : 0);
      for (float& b : bias) b = normal(random);
      for (const std::int64_t tokens : {1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 20, 24, 31, 41, 70, 90}) {
        std::vector<float> x(static_cast<std::size_t>(tokens * cols_of(named.format)));
        for (float& v : x) v = normal(random);
        expect_same_bits_everywhere([&](CpuIsa isa, ProductPlan plan) { return panels.times(x, tokens, isa, plan, bias); },
                                    fmt::format("{}, {} rows, {} tokens", named.name, rows, tokens).c_str());
      }
    }
  }
}

TEST(Products, OfFloatsHaveTheSameBitsOneOrTwoPanelsAtATime) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::int64_t rows : {1, 17, 32, 75}) {
      for (const std::int64_t cols : {1, 3, 64, 131, 259}) {
        const std::size_t panel_bytes = static_cast<std::size_t>(kPanelRows * cols * bytes_of(type));
        std::vector<std::byte> panels(static_cast<std::size_t>(ceil_div(rows, kPanelRows)) * panel_bytes);
        for (std::size_t at = 0; at < panels.size(); at += static_cast<std::size_t>(bytes_of(type))) {
          const float w = normal(random);
          // Any numbers: f16 from 2^-7 to 2^-5, and upper halves of f32.
          const std::uint16_t half = type == DType::f16 ? static_cast<std::uint16_t>(0x2000 + random() % 0x800)
                                                        : static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(w) >> 16);
          if (type == DType::f32)
            std::memcpy(panels.data() + at, &w, sizeof w);
          else
            std::memcpy(panels.data() + at, &half, sizeof half);
        }
        std::vector<float> bias(rows % 2 ? static_cast<std::size_t>(rows) : 0);
        for (float& b : bias) b = normal(random);
        for (const std::int64_t tokens : {1, 7, 8, 13, 24, 31, 70}) {
          std::vector<float> x(static_cast<std::size_t>(tokens * cols));
          for (float& v : x) v = normal(random);
          const auto product = [&](CpuIsa isa, ProductPlan plan) {
            std::vector<float> out(static_cast<std::size_t>(tokens * rows), -1.0f);
            kernels_for(isa).multiply_float({.format = {.dtype = type},
                                             .panels = panels.data(),
                                             .panel_bytes = panel_bytes,
                                             .rows = rows,
                                             .cols = cols,
                                             .tokens = tokens,
                                             .x = x.data(),
                                             .bias = bias.empty() ? nullptr : bias.data(),
                                             .out = out.data(),
                                             .out_stride = rows,
                                             .plan = plan});
            return out;
          };
          expect_same_bits_everywhere(
              product,
              fmt::format("type {}, {} rows, {} inputs, {} tokens", static_cast<int>(type), rows, cols, tokens).c_str());
        }
      }
    }
  }
}

// A token's result does not depend on the tokens beside it.
TEST(Products, OfATokenAreWhatTheyAreAlone) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  constexpr std::int64_t kRows = 40, kTokens = 37;
  for (const Named& named : kFormats) {
    const Panels panels(named.format, kRows, random);
    const std::int64_t cols = cols_of(named.format);
    std::vector<float> x(static_cast<std::size_t>(kTokens * cols));
    for (float& v : x) v = normal(random);
    for (const CpuIsa isa : available_cpu_isas()) {
      const std::vector<float> all = panels.times(x, kTokens, isa, {.pairs = true}, {});
      for (std::int64_t t = 0; t < kTokens; ++t) {
        const std::vector<float> own(x.begin() + t * cols, x.begin() + (t + 1) * cols);
        const std::vector<float> alone = panels.times(own, 1, isa, {}, {});
        ASSERT_TRUE(test::same_bits(alone, std::span(all).subspan(static_cast<std::size_t>(t * kRows), kRows)))
            << fmt::format("{}, token {}, {}", named.name, t, name(isa));
      }
    }
  }
}

}  // namespace
}  // namespace warploom::cpu
