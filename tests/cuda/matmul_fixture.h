// Products on the device beside exact ones.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "backend/weights.h"
#include "checkpoint/quants.h"
#include "core/quant_group.h"
#include "cuda/backend/matmul/matmul.h"
#include "cuda/guarded_array.h"
#include "cuda/runtime/raii.h"
#include "support/encoding.h"

namespace warploom::test {

inline std::vector<std::uint16_t> random_inputs(std::mt19937& rng, std::size_t count, DType type) {
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> x(count);
  for (std::uint16_t& v : x) v = to_16_bits(normal(rng), type);
  return x;
}

/// A weight as the file means it, and by how much what a kernel multiplies may differ from it: it is rounded once to the
/// type of the activations; scales and minima of K-quants are products, which are rounded to f16 before that.
struct ExactWeight {
  std::vector<float> value, slack;  // [rows, cols]

  ExactWeight(const std::vector<WeightView>& parts, DType type) {
    const double unit = rounding(type), subnormal = type == DType::f16 ? 0x1p-25 : 0x1p-134;
    for (const WeightView& part : parts) {
      const auto cols = static_cast<std::size_t>(part.cols);
      const bool products = part.type == WeightType::q4_k || part.type == WeightType::q5_k || part.type == WeightType::q6_k;
      for (std::int64_t r = 0; r < part.rows; ++r) {
        std::vector<float> row(cols);
        dequantize_row(part, r, row);
        for (std::size_t i = 0; i < cols; ++i) {
          double before = 0;
          if (products) {
            const QuantGroup g = decode_group(part.type, part.data + static_cast<std::size_t>(r) * part.row_bytes(),
                                              static_cast<std::int64_t>(i / 32));
            const double code = std::abs(static_cast<double>(g.q[i % 32]) - g.zero_point);
            before = 0x1p-11 * (std::abs(static_cast<double>(g.scale[i % 32 / 16])) * code +
                                std::abs(static_cast<double>(g.min))) +
                     0x1p-25 * (code + 1);
          }
          value.push_back(row[i]);
          slack.push_back(static_cast<float>(before + unit * (std::abs(static_cast<double>(row[i])) + before) + subnormal));
        }
      }
    }
  }
};

struct Near {
  double value, bound;
};
/// f32 sums in any order. The maximum error of an addition is a unit in the last place: tensor cores truncate.
inline Near exact_product(const ExactWeight& w, std::size_t row, const std::uint16_t* x, std::size_t cols, DType type,
                          float bias) {
  double sum = bias, size = std::abs(static_cast<double>(bias)), slack = 0;
  for (std::size_t k = 0; k < cols; ++k) {
    const double in = from_16_bits(x[k], type);
    sum += w.value[row * cols + k] * in;
    size += std::abs(w.value[row * cols + k] * in);
    slack += w.slack[row * cols + k] * std::abs(in);
  }
  return {sum, slack + 0x1p-23 * static_cast<double>(cols + 16) * (size + slack)};
}

class CudaMatmul : public testing::Test {
 protected:
  /// out [tokens, rows]. `shift`: elements by which x and out are off a boundary.
  std::vector<float> run(cuda::Matmul& matmul, const Weight& weight, const std::vector<std::uint16_t>& x,
                         const std::vector<float>& bias, std::size_t shift = 0) const {
    const std::size_t tokens = x.size() / static_cast<std::size_t>(weight.cols());
    const CudaArray<std::uint16_t> in(x, shift);
    const CudaArray<float> add(bias), out(tokens * static_cast<std::size_t>(weight.rows()), shift);
    MatmulArgs args;
    args.weight = &weight;
    args.x = reinterpret_cast<const float*>(in.data());
    args.bias = bias.empty() ? nullptr : add.data();
    args.tokens = static_cast<std::int64_t>(tokens);
    args.out = out.data();
    matmul.run(args);
    return out.read();
  }

  static constexpr std::uint32_t kSeed = 20250211;
  cuda::Stream stream = cuda::create_stream();
  std::mt19937 rng{kSeed};
  testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(kSeed)};
};

}  // namespace warploom::test
