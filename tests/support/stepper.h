// Runs a model step by step over sequences that the test feeds, and hands out the logits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "engine/model_runner.h"
#include "model/decoder_model.h"
#include "warploom/block_table.h"

namespace warploom::test {

class Stepper {
 public:
  Stepper(const std::string& path, std::unique_ptr<Backend> backend, std::int64_t sequences, std::int64_t max_tokens,
          std::int64_t prefill, DType kv_type = DType::f16, std::int64_t block_size = 16, bool round_attention = false)
      : model_(load_decoder_model(*open_checkpoint(path), std::move(backend))),
        blocks_per_seq_(blocks_for(max_tokens, block_size)),
        pool_(sequences * blocks_per_seq_, block_size),
        cache_(model_->backend().create_kv_cache({shape().num_layers, shape().num_kv_heads, shape().head_dim, pool_.size(),
                                                  kv_type, block_size, round_attention})),
        runner_(*model_, cache_->shape(),
                {.max_num_tokens = std::max(prefill, sequences),
                 .max_num_logits = sequences,
                 .max_num_seqs = sequences,
                 .max_blocks_per_seq = blocks_per_seq_}) {
    runner_.use(*cache_);
    for (std::int64_t s = 0; s < sequences; ++s) tables_.emplace_back(pool_);
    lengths_.assign(static_cast<std::size_t>(sequences), 0);
  }

  const ModelShape& shape() const { return model_->config().shape; }
  std::uint64_t weight_bytes() const { return model_->weight_bytes(); }
  std::int64_t vocab_size() const { return shape().vocab_size; }

  /// Goes on as if every sequence had `tokens` more tokens, whose keys and values are what the cache holds.
  void skip(std::int64_t tokens) {
    for (std::size_t s = 0; s < tables_.size(); ++s) grow(s, tokens);
  }

  /// Appends tokens[s] to sequence s (not empty), draws if rows are given, and returns the last tokens' logits, [sequences, vocab_size].
  std::vector<float> step(const std::vector<std::vector<TokenId>>& tokens, std::span<const SamplingInput> rows = {},
                          std::span<SampleResult> results = {}) {
    ModelInput input;
    for (std::size_t s = 0; s < tokens.size(); ++s) {
      const auto count = static_cast<std::int64_t>(tokens[s].size());
      input.token_ids.insert(input.token_ids.end(), tokens[s].begin(), tokens[s].end());
      grow(s, count);
      input.sequences.push_back({count, lengths_[s] - count, tables_[s].blocks(), 1});
    }
    for (const SamplingInput& row : rows)
      input.rows.push_back({static_cast<std::int64_t>(input.rows.size()), &row.params, row.position, row.subsequence,
                            row.history.first(static_cast<std::size_t>(row.count_begin)),
                            row.history.subspan(static_cast<std::size_t>(row.count_begin)), false, row.bias});
    runner_.run(input, {}, results);
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(vocab_size()));
    runner_.download_logits(0, logits);
    return logits;
  }

 private:
  void grow(std::size_t s, std::int64_t count) {
    std::vector<BlockCopy> copies;
    if (!tables_[s].ensure_writable(lengths_[s], lengths_[s] + count, copies)) throw std::logic_error("no block");
    lengths_[s] += count;
  }

  std::unique_ptr<DecoderModel> model_;
  std::int64_t blocks_per_seq_;
  BlockPool pool_;
  std::unique_ptr<KvCache> cache_;
  ModelRunner runner_;
  std::vector<BlockTable> tables_;
  std::vector<std::int64_t> lengths_;
};

}  // namespace warploom::test
