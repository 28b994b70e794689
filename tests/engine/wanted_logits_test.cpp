// A row of logits does not depend on which others are wanted. The last layer leaves out the tokens without.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "backend/forwarding_backend.h"
#include "checkpoint/synthetic_checkpoint.h"
#include "engine/model_runner.h"
#include "model/decoder_model.h"
#include "support/same_bits.h"

namespace warploom {
namespace {

struct Part {
  std::int64_t sequence, tokens, logits;
};
using Step = std::vector<Part>;

constexpr std::int64_t kSequences = 3, kMaxTokens = 96, kVocab = 512;

// Of three layers.
std::shared_ptr<const Checkpoint> checkpoint() {
  return synthetic_checkpoint({"llama", kVocab, 512, 3, 64, 4, 2, 16, 96, true}, "Q4_0", 5, 1);
}

// The tokens are the same in every run; returns the logits of each step.
std::vector<std::vector<float>> run(const DecoderModel& model, const std::vector<Step>& steps) {
  const ModelShape& shape = model.config().shape;
  BlockPool pool(kSequences * kMaxTokens / 16, 16);
  const auto cache =
      model.backend().create_kv_cache({shape.num_layers, shape.num_kv_heads, shape.head_dim, pool.size(), DType::f16, 16});
  ModelRunner runner(model, cache->shape(),
                     {.max_num_tokens = kSequences * kMaxTokens,
                      .max_num_logits = kSequences * kMaxTokens,
                      .max_num_seqs = kSequences,
                      .max_blocks_per_seq = kMaxTokens / 16});
  runner.use(*cache);
  std::vector<BlockTable> tables;
  for (std::int64_t s = 0; s < kSequences; ++s) tables.emplace_back(pool);
  std::vector<std::int64_t> lengths(kSequences);
  std::vector<std::vector<float>> logits;
  for (const Step& step : steps) {
    ModelInput input;
    for (const Part& part : step) {
      const auto s = static_cast<std::size_t>(part.sequence);
      EXPECT_TRUE(tables[s].ensure_writable(lengths[s], lengths[s] + part.tokens, input.copies));
      for (std::int64_t i = 0; i < part.tokens; ++i)
        input.token_ids.push_back(static_cast<TokenId>((37 * part.sequence + 101 * (lengths[s] + i)) % 256));
      input.sequences.push_back({part.tokens, lengths[s], tables[s].blocks(), part.logits});
      lengths[s] += part.tokens;
    }
    runner.run(input, {}, {});
    logits.emplace_back(static_cast<std::size_t>(input.num_logits() * kVocab));
    runner.download_logits(0, logits.back());
  }
  return logits;
}

TEST(WantedLogits, OneRowDoesNotDependOnTheOthers) {
  // Prompts with no logits, with one row, with some and with all; then sequences that decode beside a prompt.
  const std::vector<Step> steps = {{{0, 21, 0}},
                                   {{0, 17, 1}, {1, 9, 0}, {2, 30, 4}},
                                   {{0, 1, 1}, {1, 40, 39}, {2, 1, 1}},
                                   {{1, 1, 1}, {0, 1, 1}},
                                   {{2, 60, 1}},
                                   {{0, 3, 3}, {1, 5, 5}}};
  std::vector<Step> all = steps;
  for (Step& step : all)
    for (Part& part : step) part.logits = part.tokens;
  for (const int threads : {1, 2, 4}) {
    const auto model = load_decoder_model(
        *checkpoint(),
        create_cpu_backend({.kind = DeviceKind::cpu, .threads = threads, .isa = CpuIsa::automatic, .cuda = {}}));
    const auto got = run(*model, steps), whole = run(*model, all);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      std::vector<float> want;
      std::int64_t end = 0;
      for (const Part& part : steps[i]) {
        end += part.tokens;
        want.insert(want.end(), whole[i].begin() + (end - part.logits) * kVocab, whole[i].begin() + end * kVocab);
      }
      EXPECT_TRUE(test::same_bits(got[i], want)) << "step " << i << ", " << threads << " threads";
    }
  }
}

class Counting final : public ForwardingBackend {
 public:
  explicit Counting(std::int64_t& rows) : ForwardingBackend(create_cpu_backend({})), rows_(rows) {}
  void gated_matmul(const GatedMatmulArgs& args) override {
    rows_ += args.tokens;
    ForwardingBackend::gated_matmul(args);
  }

 private:
  std::int64_t& rows_;
};

TEST(WantedLogits, TheLastLayerComputesNoOthers) {
  std::int64_t rows = 0;
  const auto model = load_decoder_model(*checkpoint(), std::make_unique<Counting>(rows));
  run(*model, {{{0, 21, 0}}});
  EXPECT_EQ(rows, 2 * 21);
  rows = 0;
  run(*model, {{{0, 17, 1}, {1, 9, 0}, {2, 30, 4}}});
  EXPECT_EQ(rows, 2 * 56 + 5);
}

}  // namespace
}  // namespace warploom
