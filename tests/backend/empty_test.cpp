// No tokens: no kernel is launched, and what could be written stays as it was.
#include "emulator/emulator.h"
#include "paged.h"
#include "weights.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Empty, read);

std::uint64_t launched_kernels() { return warploom_emulator_calls ? warploom_emulator_calls("kernel") : 0; }

TEST_P(Empty, EveryOpTakesZeroTokens) {
  const test::PagedCase c{4, 2, 32, DType::f16, {5}};
  const RopeParams rope = test::whole_heads(c);
  const test::PagedRows rows(c, rng);
  test::Paged paged(*backend, c, rope, rows, 1);
  paged.step({0}, 0, 5);
  const std::vector<float> attended = paged.step({0}, 0, 5, false);

  const test::RandomWeight random(rng, WeightType::q4_1, 64, 64);
  const auto weight = backend->load_weight({&random.view, 1});
  const auto rope_tables = backend->load_rope(rope, nullptr);
  const std::vector<float> before = test::random_floats(rng, 512), before_activations(512, 0.75f);
  test::Guarded in(*backend, before), out(*backend, before);
  test::Activations x(*backend, before_activations), activations(*backend, before_activations);
  const std::vector<TokenId> ids(16, 3);
  const test::GuardedArray<TokenId> tokens(test::memory_of(*backend), ids);
  const test::GuardedArray<SampleStatus> statuses(test::memory_of(*backend),
                                                  std::vector<SampleStatus>(16, SampleStatus::all_masked));
  const std::uint64_t launches = launched_kernels();

  backend->embed({weight.get(), tokens.data(), 0, out.data()});
  backend->rms_norm({in.data(), out.data(), in.data(), 0, 64, 1e-5f, activations.data()});
  backend->gather_rows({in.data(), 64, nullptr, 0, 64, out.data()});
  backend->matmul({weight.get(), x.data(), in.data(), 0, out.data()});
  backend->rope_append(test::append_args(in.data(), c.heads, rope_tables.get(), {}, paged.cache(), 1));
  backend->paged_attention(
      test::attention_args(*backend, in.data(), c.heads, 1.0f, 0.0f, 0, {}, paged.cache(), 1, activations.data()));
  backend->swiglu({in.data(), 0, 64, activations.data()});
  backend->sample(
      {.logits = in.data(), .vocab_size = 64, .row_stride = 64, .token = tokens.data(), .status = statuses.data()});
  backend->synchronise();

  EXPECT_EQ(launched_kernels(), launches);
  EXPECT_EQ(in.read(), before);
  EXPECT_EQ(out.read(), before);
  EXPECT_EQ(x.read(), before_activations);
  EXPECT_EQ(activations.read(), before_activations);
  EXPECT_EQ(tokens.read(), ids);
  for (const SampleStatus status : statuses.read()) EXPECT_EQ(status, SampleStatus::all_masked);
  EXPECT_TRUE(test::same_bits(paged.step({0}, 0, 5, false), attended)) << "the cache changed";
}

}  // namespace
}  // namespace warploom
