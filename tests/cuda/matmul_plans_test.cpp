// However a product is cut into blocks, its results have the same bits.
#include <algorithm>
#include <compare>
#include <functional>
#include <set>
#include <span>

#include "cuda/backend/matmul/batch_workspace.h"
#include "cuda/backend/matmul/weight.h"
#include "cuda/matmul_fixture.h"
#include "support/same_bits.h"

namespace warploom {
namespace {

using test::CudaArray;
using test::RandomWeight;

class CudaMatmulPlans : public test::CudaMatmul {
 protected:
  using Launch = std::function<void(const cuda::PackedView&, const float* bias, float* out)>;

  // [tokens, rows] of all parts of a weight.
  static std::vector<float> results(const cuda::DeviceWeight& weight, const CudaArray<float>& bias, std::int64_t tokens,
                                    const Launch& launch) {
    CudaArray<float> out(static_cast<std::size_t>(tokens * weight.rows()));
    for (const cuda::PackedPart& part : weight.packed())
      launch(part.view, bias.data() + part.first_row, out.data() + part.first_row);
    return out.read();
  }
  // [tokens, rows / 2] of a weight whose rows alternate; launch(view, where to).
  template <typename LaunchGated>
  static std::vector<std::uint16_t> gated_results(const cuda::DeviceWeight& weight, const CudaArray<float>& bias,
                                                  std::int64_t tokens, const LaunchGated& launch) {
    CudaArray<std::uint16_t> out(static_cast<std::size_t>(tokens * weight.rows() / 2));
    launch(weight.packed().at(0).view, cuda::Epilogue{bias.data(), out.data(), weight.rows() / 2, true});
    return out.read();
  }
};

// Chunks of one tile and of several, odd numbers of chunks, spans and row tiles, some of them without a tile; several formats in a launch;
// GPUs of few and of many multiprocessors, with much shared memory and little, with room to exchange sums and without.
TEST_F(CudaMatmulPlans, ChangeNoBit) {
  cuda::BatchWorkspace workspace(stream.get());
  const cuda::BatchRoom device = workspace.workspace().room;
  struct Kind {
    bool by_chunks;
    int token_tiles, splits, spans;
    bool split, whole;  // whether it has row blocks of the kind
    bool gated;
    auto operator<=>(const Kind&) const = default;
  };
  std::set<Kind> kinds;
  for (const int tiles : {1, 7, 8, 13, 20, 33, 36}) {
    const std::int64_t cols = 64 * tiles - 32, most_tokens = 70;
    const DType type = tiles % 2 == 0 ? DType::bf16 : DType::f16;
    cuda::Matmul matmul({type, false, true}, stream.get());
    const int more = tiles == 33 ? 2 : 1;  // of which some rows are split and others are not
    std::vector<RandomWeight> weights;
    for (const auto& [format, rows] : {std::pair{WeightType::q4_0, 75 * more},
                                       {WeightType::q8_0, 300 * more},
                                       {WeightType::q5_1, 16},
                                       {WeightType::f16, 40}})
      weights.emplace_back(rng, format, rows, cols);
    std::vector<WeightView> parts;
    for (const RandomWeight& weight : weights) parts.push_back(weight.view);
    const auto prepared = matmul.load_weight(parts);
    const auto& weight = static_cast<const cuda::DeviceWeight&>(*prepared);
    const auto x = test::random_inputs(rng, static_cast<std::size_t>(most_tokens * cols), type);
    const CudaArray<std::uint16_t> inputs(x);
    const CudaArray<float> bias(std::vector<float>(1000, 0.25f));  // for more rows than any weight here has
    const std::vector<float> expected =
        results(weight, bias, most_tokens, [&](const cuda::PackedView& view, const float* add, float* out) {
          launch_packed_matmul(view, type, inputs.data(), most_tokens, {add, out, weight.rows(), false}, stream.get());
        });
    struct Gated {
      std::unique_ptr<Weight> weight;
      std::vector<std::uint16_t> expected;
      const cuda::DeviceWeight& on_device() const { return static_cast<const cuda::DeviceWeight&>(*weight); }
    };
    std::vector<Gated> all_gated;
    for (const std::int64_t gates : {40, 64}) {
      const RandomWeight gate(rng, WeightType::q4_1, gates, cols), up(rng, WeightType::q4_1, gates, cols);
      Gated& gated = all_gated.emplace_back(Gated{matmul.load_gated_weight(gate.view, up.view), {}});
      ASSERT_TRUE(gated.on_device().alternating());
      gated.expected =
          gated_results(gated.on_device(), bias, most_tokens, [&](const cuda::PackedView& view, const cuda::Epilogue& to) {
            launch_packed_matmul(view, type, inputs.data(), most_tokens, to, stream.get());
          });
    }
    const auto kind_of = [](const cuda::BatchPlan& plan, bool is_gated) {
      return Kind{plan.by_chunks,   plan.token_tiles,          plan.splits,
                  plan.order.spans, plan.split.row_blocks > 0, plan.whole.row_blocks > 0,
                  is_gated};
    };
    for (const int processors : {1, 8, 64, 108, 10000})
      for (const auto& [shared, exchange] :
           {std::pair{device.shared_bytes, true}, {device.shared_bytes, false}, {80 << 10, true}, {32 << 10, true}}) {
        cuda::MatmulWorkspace memory = workspace.workspace();
        memory.room.processors = processors;
        memory.room.shared_bytes = shared;
        if (!exchange) memory.room.partial_bytes = 0;
        cuda::BatchPlans plans(memory.room);
        cuda::AllowedKernels allowed;
        memory.plans = &plans;
        memory.allowed = &allowed;
        for (const std::int64_t tokens : {9, 17, 40, 64, 70}) {
          SCOPED_TRACE(testing::Message() << cols << " inputs, " << tokens << " tokens, " << processors
                                          << " multiprocessors, " << shared << " bytes, exchange " << exchange);
          const std::vector<float> got =
              results(weight, bias, tokens, [&](const cuda::PackedView& view, const float* add, float* out) {
                kinds.insert(kind_of(plans.find(view, static_cast<int>(tokens)), false));
                launch_packed_matmul_batch(view, type, inputs.data(), tokens, {add, out, weight.rows(), false}, memory,
                                           stream.get());
              });
          ASSERT_TRUE(test::same_bits(got, std::span(expected).first(got.size())));
        }
        for (const auto& [gated, tokens] : {std::pair{0, 17}, {0, 70}, {1, 17}, {1, 70}}) {
          const Gated& some = all_gated[static_cast<std::size_t>(gated)];
          SCOPED_TRACE(testing::Message() << cols << " inputs, " << tokens << " tokens, " << processors
                                          << " multiprocessors, " << shared << " bytes, exchange " << exchange << ", gated");
          const std::vector<std::uint16_t> got =
              gated_results(some.on_device(), bias, tokens, [&](const cuda::PackedView& view, const cuda::Epilogue& to) {
                kinds.insert(kind_of(plans.find(view, static_cast<int>(tokens)), true));
                launch_packed_matmul_batch(view, type, inputs.data(), tokens, to, memory, stream.get());
              });
          ASSERT_TRUE(std::equal(got.begin(), got.end(), some.expected.begin()));
        }
      }
  }
  const auto has = [&](auto&& kind) { return std::any_of(kinds.begin(), kinds.end(), kind); };
  for (const int token_tiles : {2, 4, 6, 8})
    EXPECT_TRUE(has([&](const Kind& kind) { return kind.by_chunks && kind.token_tiles == token_tiles; })) << token_tiles;
  for (const bool gated : {false, true}) {
    const auto shares = [&](auto&& kind) {
      return has([&](const Kind& k) { return !k.by_chunks && k.gated == gated && kind(k); });
    };
    EXPECT_TRUE(has([&](const Kind& kind) { return kind.by_chunks && kind.gated == gated; })) << gated;
    EXPECT_TRUE(shares([](const Kind& kind) { return kind.split && !kind.whole && kind.splits == 1; })) << gated;
    EXPECT_TRUE(shares([](const Kind& kind) { return kind.split && kind.splits == 2; })) << gated;
    EXPECT_TRUE(shares([](const Kind& kind) { return kind.split && kind.splits > 2; })) << gated;
    EXPECT_TRUE(shares([](const Kind& kind) { return !kind.split && kind.whole; })) << gated;
    EXPECT_TRUE(gated || shares([](const Kind& kind) { return kind.split && kind.whole; }));
  }
}

}  // namespace
}  // namespace warploom
