// No tokens, no work, no crash.
#include "paged.h"
#include "weights.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Empty);

TEST_P(Empty, EveryOpTakesZeroTokens) {
  const test::RandomWeight random(rng, WeightType::q4_1, 64, 64);
  const auto weight = backend->load_weight({&random.view, 1});
  const auto cache = backend->create_kv_cache({1, 2, 32, 2, DType::f16});
  const AttentionMetadata metadata;
  RopeParams rope;
  rope.dims = 32;
  test::Guarded none(*backend, 0), out(*backend, 0);
  backend->embed({weight.get(), nullptr, 0, out.data()});
  backend->rms_norm({.residual = none.data(), .weight = none.data(), .tokens = 0, .hidden_size = 64, .out = out.data()});
  backend->matmul({weight.get(), none.data(), nullptr, 0, out.data()});
  const auto prepared_rope = backend->load_rope(rope, nullptr);
  backend->rope_append(test::append_args(none.data(), 4, *prepared_rope, metadata, *cache, 0));
  backend->paged_attention(test::attention_args(*backend, none.data(), 4, metadata, *cache, 0, out.data()));
  backend->swiglu({none.data(), 0, 64, out.data()});
  backend->sample({.logits = none.data(), .vocab_size = 64, .row_stride = 64});
  backend->synchronise();
}

}  // namespace
}  // namespace warploom
