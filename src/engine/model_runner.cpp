#include "engine/model_runner.h"

#include <algorithm>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

/// Room for the padding tokens of decode steps.
BatchLimits padded(BatchLimits limits, const Backend& backend) {
  const std::int64_t decodes =
      backend.graph_batch_size(std::min({limits.max_num_tokens, limits.max_num_logits, limits.max_num_seqs}));
  limits.max_num_tokens = std::max(limits.max_num_tokens, decodes);
  limits.max_num_logits = std::max(limits.max_num_logits, decodes);
  limits.max_num_seqs = std::max(limits.max_num_seqs, decodes);
  return limits;
}

}  // namespace

ModelRunner::OutputBuffers::OutputBuffers(Backend& backend, std::int64_t rows)
    : tokens(aligned(static_cast<std::size_t>(rows) * sizeof(double))),
      statuses(tokens + aligned(static_cast<std::size_t>(rows) * sizeof(TokenId))),
      memory(backend.create_staging_buffer(statuses + static_cast<std::size_t>(rows) * sizeof(SampleStatus))) {}

void ModelRunner::OutputBuffers::place(SampleArgs& args, bool logprobs) const {
  std::byte* at = memory->device();
  if (logprobs) args.logprob = reinterpret_cast<double*>(at);
  args.token = reinterpret_cast<TokenId*>(at + tokens);
  args.status = reinterpret_cast<SampleStatus*>(at + statuses);
}

SampleResult ModelRunner::OutputBuffers::result(std::size_t row, bool logprobs) const {
  const std::byte* at = memory->host();
  SampleResult result;
  if (logprobs) result.logprob = reinterpret_cast<const double*>(at)[row];
  result.token = reinterpret_cast<const TokenId*>(at + tokens)[row];
  result.status = reinterpret_cast<const SampleStatus*>(at + statuses)[row];
  return result;
}

ModelRunner::ModelRunner(const DecoderModel& model, KvCache& cache, const BatchLimits& limits)
    : model_(model),
      cache_(cache),
      backend_(model.backend()),
      limits_(padded(limits, backend_)),
      inputs_(backend_, limits_),
      outputs_(backend_, limits_.max_num_logits),
      activations_(backend_, model.config(), limits_, cache.shape()) {
  SampleArgs args;
  outputs_.place(args, true);
  args.logits = activations_.floats(activations_.logits);
  args.rows = limits_.max_num_logits;
  args.vocab_size = args.row_stride = model.config().shape.vocab_size;
  sample_workspace_ = backend_.alloc(backend_.workspace_bytes(args));
}

void ModelRunner::run(const ModelInput& input, bool logprobs, std::span<SampleResult> results) {
#ifndef NDEBUG
  check(input, results);
#endif
  const std::lock_guard lock(backend_.step_mutex());
  for (const BlockCopy& copy : input.copies) backend_.copy_block({cache_.view(), copy.from, copy.to});
  PackedInput packed = inputs_.pack(input);
  packed.key.logprobs = logprobs;
  num_logits_ = input.num_logits();
  backend_.run_step(packed.key, inputs_.memory(), *outputs_.memory, [&] {
    model_.forward(packed.batch, cache_, activations_);
    if (packed.sample.rows == 0) return;
    SampleArgs args = packed.sample;
    args.logits = activations_.floats(activations_.logits);
    args.vocab_size = args.row_stride = model_.config().shape.vocab_size;
    args.workspace = {sample_workspace_->data(), sample_workspace_->bytes()};
    outputs_.place(args, logprobs);
    backend_.sample(args);
  });
  backend_.synchronise();
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = outputs_.result(i, logprobs);
}

void ModelRunner::download_logits(std::span<float> out) {
  const auto count = static_cast<std::size_t>(num_logits_ * model_.config().shape.vocab_size);
  if (out.size() != count)
    throw InvalidArgument(fmt::format("download_logits: there is room for {} values; it must be {}", out.size(), count));
  const std::lock_guard lock(backend_.step_mutex());
  backend_.download(out.data(), activations_.logits->data(), count * sizeof(float));
}

void ModelRunner::check(const ModelInput& input, std::span<const SampleResult> results) const {
  const auto need = [](bool ok, const char* what, std::int64_t value, std::int64_t bound) {
    if (!ok) throw InvalidArgument(fmt::format("step: {} is {}, outside [0, {}]", what, value, bound));
  };
  const auto tokens = static_cast<std::int64_t>(input.token_ids.size()),
             sequences = static_cast<std::int64_t>(input.sequences.size());
  need(tokens >= 1 && tokens <= limits_.max_num_tokens, "number of tokens", tokens, limits_.max_num_tokens);
  need(sequences <= limits_.max_num_seqs, "number of sequences", sequences, limits_.max_num_seqs);
  need(input.num_logits() <= limits_.max_num_logits, "number of logits", input.num_logits(), limits_.max_num_logits);
  if (input.rows.size() != results.size() ||
      (!input.rows.empty() && static_cast<std::int64_t>(input.rows.size()) != input.num_logits()))
    throw InvalidArgument(
        fmt::format("step: {} rows and {} results for {} logits", input.rows.size(), results.size(), input.num_logits()));
  const KvCacheShape& cache = cache_.shape();
  std::int64_t sum = 0;
  for (const SequenceInput& sequence : input.sequences) {
    const auto blocks = static_cast<std::int64_t>(sequence.block_table.size());
    sum += sequence.num_tokens;
    need(sequence.num_logits >= 0 && sequence.num_logits <= sequence.num_tokens, "logits of a sequence", sequence.num_logits,
         sequence.num_tokens);
    need(blocks <= limits_.max_blocks_per_seq, "blocks of a sequence", blocks, limits_.max_blocks_per_seq);
    const std::int64_t end = sequence.first_position + sequence.num_tokens;
    need(sequence.first_position >= 0 && end <= blocks * cache.block_size, "end of a sequence", end,
         blocks * cache.block_size);
    for (const std::int32_t block : sequence.block_table)
      need(block >= 0 && block < cache.num_blocks, "block", block, cache.num_blocks - 1);
  }
  need(sum == tokens, "tokens of all sequences", sum, tokens);
  const std::int64_t vocab_size = model_.config().shape.vocab_size;
  for (const TokenId id : input.token_ids) need(id >= 0 && id < vocab_size, "token id", id, vocab_size - 1);
}

}  // namespace warploom
