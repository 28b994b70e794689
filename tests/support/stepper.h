// Runs a model step by step over sequences that the test feeds, and hands out the logits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/decoder_model.h"
#include "warploom/kv_blocks.h"

namespace warploom::test {

class Stepper {
 public:
  Stepper(const std::string& path, std::unique_ptr<Backend> backend, std::int64_t sequences, std::int64_t max_query_len,
          std::int64_t prefill, DType kv_type = DType::f16, std::int64_t block_size = 16)
      : model_(load_decoder_model(*open_checkpoint(path), std::move(backend))),
        stride_((max_query_len + block_size - 1) / block_size),
        pool_(sequences * stride_, block_size) {
    const ModelShape& shape = model_->config().shape;
    cache_ = model_->backend().create_kv_cache(
        {shape.num_layers, shape.num_kv_heads, shape.head_dim, pool_.size(), kv_type, block_size});
    BatchLimits limits;
    limits.max_tokens = std::max(prefill, sequences);
    limits.max_outputs = limits.max_sequences = sequences;
    limits.max_blocks_per_seq = stride_;
    limits.kv_type = kv_type;
    limits.kv_block_size = block_size;
    session_ = create_runner(*model_, limits);
    for (std::int64_t s = 0; s < sequences; ++s) tables_.emplace_back(pool_);
    lengths_.assign(static_cast<std::size_t>(sequences), 0);
  }

  const ModelShape& shape() const { return model_->config().shape; }
  std::uint64_t weight_bytes() const { return model_->weight_bytes(); }
  std::int64_t vocab_size() const { return model_->config().shape.vocab_size; }

  /// Goes on as if every sequence had `tokens` more tokens, whose keys and values are what the cache holds.
  void skip(std::int64_t tokens) {
    for (std::size_t s = 0; s < tables_.size(); ++s) {
      lengths_[s] += tokens;
      if (!tables_[s].ensure_writable(0, lengths_[s], [](std::int32_t, std::int32_t) {})) throw std::logic_error("no block");
    }
  }

  /// Appends tokens[s] to sequence s (not empty), draws where rows are given, and returns the last tokens' logits,
  /// [sequences, vocab_size].
  std::vector<float> step(const std::vector<std::vector<TokenId>>& tokens, std::span<const SamplingInput> rows = {},
                          std::span<SampleResult> results = {}) {
    ModelInput input;
    input.max_blocks_per_seq = stride_;
    for (std::size_t s = 0; s < tokens.size(); ++s) {
      const auto count = static_cast<std::int64_t>(tokens[s].size());
      if (!tables_[s].ensure_writable(lengths_[s], lengths_[s] + count, [](std::int32_t, std::int32_t) {}))
        throw std::logic_error("no block");
      for (std::int64_t i = 0; i < count; ++i) {
        input.ids.push_back(tokens[s][static_cast<std::size_t>(i)]);
        input.positions.push_back(static_cast<std::int32_t>(lengths_[s] + i));
        input.sequences.push_back(static_cast<std::int32_t>(s));
      }
      lengths_[s] += count;
      const auto blocks = tables_[s].blocks();
      input.block_tables.insert(input.block_tables.end(), blocks.begin(), blocks.end());
      input.block_tables.resize((s + 1) * static_cast<std::size_t>(stride_), 0);
      input.outputs.push_back(static_cast<std::int32_t>(input.ids.size()) - 1);
    }
    session_->run(input, *cache_, rows, false, results);
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(vocab_size()));
    session_->download_logits(logits);
    return logits;
  }

 private:
  std::unique_ptr<DecoderModel> model_;
  std::int64_t stride_;
  BlockPool pool_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<ModelRunner> session_;
  std::vector<BlockTable> tables_;
  std::vector<std::int64_t> lengths_;
};

}  // namespace warploom::test
