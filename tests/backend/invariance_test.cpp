// Every CPU kernel gives the same bits on every instruction set and thread count, and a token's row does not know how many
// others there are.
#include "paged.h"
#include "weights.h"

namespace warploom {
namespace {

using test::Guarded;
using test::RandomWeight;

std::vector<float> multiply(Backend& backend, const RandomWeight& weight, const std::vector<float>& x, std::int64_t tokens) {
  const auto prepared = backend.load_weight({&weight.view, 1});
  Guarded in(backend, x), out(backend, static_cast<std::size_t>(tokens * weight.view.rows));
  backend.matmul({prepared.get(), in.data(), nullptr, tokens, out.data()});
  return out.read();
}

TEST(Invariance, MatmulOverDevicesAndBatches) {
  std::mt19937 rng(1);
  for (const WeightType type : test::kAllWeightTypes) {
    const std::int64_t cols = 768, rows = 70, tokens = 85;
    const RandomWeight weight(rng, type, rows, cols);
    std::vector<float> x = test::random_floats(rng, static_cast<std::size_t>(tokens * cols), 2.0f);
    std::vector<float> first;
    for (const DeviceOptions& device : test::cpu_devices()) {
      const auto backend = create_backend(device);
      const std::vector<float> all = multiply(*backend, weight, x, tokens);
      if (first.empty()) first = all;
      EXPECT_TRUE(test::same_bits(all, first)) << traits(type).name << " on " << backend->description();
      for (const std::int64_t count : {1, 2, 3, 4, 7, 8, 9, 16, 17, 25, 64, 74}) {
        for (std::int64_t from = 0; from + count <= tokens; from += test::kSanitized ? 40 : count < 16 ? 13 : 5) {
          const std::vector<float> part(x.begin() + from * cols, x.begin() + (from + count) * cols);
          const std::vector<float> want(first.begin() + from * rows, first.begin() + (from + count) * rows);
          ASSERT_TRUE(test::same_bits(multiply(*backend, weight, part, count), want))
              << traits(type).name << " on " << backend->description() << ": tokens " << from << " to " << from + count;
        }
      }
    }
  }
}

// From some number of tokens on each thread has its own.
TEST(Invariance, ThreadsThatShareTokens) {
  std::mt19937 rng(4);
  const std::int64_t cols = 96, rows = 50, most = 260;
  const std::vector<float> x = test::random_floats(rng, static_cast<std::size_t>(most * cols), 2.0f);
  const std::vector<float> norm_weight = test::random_floats(rng, static_cast<std::size_t>(cols));
  for (const WeightType type : {WeightType::q4_1, WeightType::q8_0, WeightType::f16}) {
    const RandomWeight weight(rng, type, rows, cols);
    const auto run = [&](int threads, std::int64_t tokens) {
      const auto backend =
          create_backend({.kind = DeviceKind::cpu, .threads = threads, .isa = CpuIsa::automatic, .cuda = {}});
      const std::vector<float> inputs(x.begin(), x.begin() + tokens * cols);
      std::vector<float> all = multiply(*backend, weight, inputs, tokens);
      Guarded in(*backend, inputs), w(*backend, norm_weight), out(*backend, inputs.size()),
          gated(*backend, inputs.size() / 2);
      backend->rms_norm({in.data(), nullptr, w.data(), tokens, cols, 1e-5f, out.data()});
      backend->swiglu({in.data(), tokens, cols / 2, gated.data()});
      for (const auto& part : {out.read(), gated.read()}) all.insert(all.end(), part.begin(), part.end());
      return all;
    };
    for (const std::int64_t tokens : {31, 32, 33, 47, 49, 71, 72, 85, 127, 128, 129, 130, 199, 200, 260}) {
      const std::vector<float> alone = run(1, tokens);
      for (const int threads : {2, 3, 4, 5})
        ASSERT_TRUE(test::same_bits(run(threads, tokens), alone))
            << traits(type).name << ", " << threads << " threads, " << tokens << " tokens";
    }
  }
}

TEST(Invariance, RowOpsOverDevices) {
  std::mt19937 rng(2);
  const std::int64_t dim = 577, tokens = 11;
  const std::vector<float> x = test::random_floats(rng, static_cast<std::size_t>(2 * tokens * dim), 3.0f);
  const std::vector<float> weight = test::random_floats(rng, static_cast<std::size_t>(dim));
  const std::vector<float> rows(x.begin(), x.begin() + tokens * dim);
  std::vector<float> norm, gated;
  for (const DeviceOptions& device : test::cpu_devices()) {
    const auto backend = create_backend(device);
    Guarded in(*backend, rows), w(*backend, weight), out(*backend, rows.size()), pairs(*backend, x),
        hidden(*backend, rows.size());
    backend->rms_norm({in.data(), nullptr, w.data(), tokens, dim, 1e-5f, out.data()});
    backend->swiglu({pairs.data(), tokens, dim, hidden.data()});
    if (norm.empty()) norm = out.read(), gated = hidden.read();
    EXPECT_TRUE(test::same_bits(out.read(), norm)) << backend->description();
    EXPECT_TRUE(test::same_bits(hidden.read(), gated)) << backend->description();
  }
}

TEST(Invariance, AttentionOverDevices) {
  std::mt19937 rng(3);
  const std::vector<std::int64_t> lengths = {270, 40};
  for (const test::PagedCase& c : {test::PagedCase{9, 3, 64, DType::f16, lengths},
                                   {9, 3, 64, DType::f32, lengths},
                                   {9, 3, 64, DType::bf16, lengths},
                                   {9, 3, 64, DType::bf16, lengths, 16, 100},
                                   {3, 3, 16, DType::bf16, lengths, 16, 0, 2.0f},
                                   {5, 1, 80, DType::bf16, lengths, 16, 3},
                                   {2, 1, 128, DType::bf16, lengths},
                                   {2, 1, 256, DType::bf16, lengths},
                                   {4, 2, 102, DType::bf16, lengths},
                                   {5, 1, 2, DType::bf16, lengths},
                                   {9, 3, 64, DType::int8, lengths},
                                   {9, 3, 64, DType::int8, lengths, 16, 100},
                                   {3, 3, 16, DType::int8, lengths, 16, 0, 2.0f},
                                   {5, 1, 80, DType::int8, lengths, 16, 3},
                                   {2, 1, 256, DType::int8, lengths},
                                   {20, 1, 102, DType::int8, lengths},
                                   {5, 1, 3, DType::int8, lengths}}) {
    const test::PagedRows rows(c, rng);
    std::vector<float> first;
    for (const DeviceOptions& device : test::cpu_devices()) {
      const auto backend = create_backend(device);
      test::Paged paged(*backend, c, test::whole_heads(c), rows, 5);
      const std::vector<float> got = paged.step({0, 1}, 0, 1000);
      if (first.empty()) first = got;
      EXPECT_TRUE(test::same_bits(got, first))
          << backend->description() << ", type " << static_cast<int>(c.type) << ", heads of " << c.head_dim;
    }
  }
}

}  // namespace
}  // namespace warploom
