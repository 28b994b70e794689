#include "engine/model_runner.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/divide.h"
#include "warploom/error.h"

namespace warploom {

namespace {

/// Places arrays one after the other; without memory it finds out how much they take.
class OutputArrays {
 public:
  explicit OutputArrays(std::byte* memory) : memory_(memory) {}
  template <typename T>
  void place(T*& array, std::int64_t count) {
    if (memory_) array = reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += align_up(static_cast<std::size_t>(count) * sizeof(T), std::size_t{16});
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  std::size_t bytes_ = 0;
};

/// Places what `rows` rows draw in `memory`; returns how many bytes it takes.
std::size_t place_outputs(SampleArgs& args, std::int64_t rows, ModelRunner::Wanted wanted, std::byte* memory) {
  OutputArrays arrays(memory);
  arrays.place(args.token, rows);
  arrays.place(args.status, rows);
  if (wanted.logprobs) arrays.place(args.logprob, rows);
  if (wanted.top_logprobs > 0) {
    args.top = wanted.top_logprobs;
    arrays.place(args.top_token, rows * args.top);
    arrays.place(args.top_logprob, rows * args.top);
  }
  return arrays.bytes();
}

std::size_t output_bytes(std::int64_t rows, ModelRunner::Wanted wanted) {
  SampleArgs args;
  return place_outputs(args, rows, wanted, nullptr);
}

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

ModelRunner::ModelRunner(const DecoderModel& model, const KvCacheShape& cache, const BatchLimits& limits)
    : model_(model),
      backend_(model.backend()),
      limits_(padded(limits, backend_)),
      inputs_(backend_, limits_),
      activations_(backend_, model.config(), limits_, cache) {
  reserve_outputs({});
}

void ModelRunner::run(const ModelInput& input, Wanted wanted, std::span<SampleResult> results) {
#ifndef NDEBUG
  check(input, results);
#endif
  const std::lock_guard lock(backend_.step_mutex());
  for (const BlockCopy& copy : input.copies) backend_.copy_block({cache_->view(), copy.from, copy.to});
  const PackedInput packed = inputs_.pack(input);
  num_logits_ = input.num_logits();
  reserve_outputs(wanted);
  const std::size_t out_bytes = packed.sample.rows > 0 ? output_bytes(packed.sample.rows, wanted) : 0;
  backend_.run_step(inputs_.memory(), packed.bytes, *outputs_, out_bytes, packed.is_decode, [&] {
    model_.forward(packed.batch, *cache_, activations_);
    if (packed.sample.rows > 0) backend_.sample(sample_args(packed.sample, wanted));
  });
  backend_.synchronise();
  SampleArgs drawn;
  place_outputs(drawn, packed.sample.rows, wanted, outputs_->host());
  read_results(drawn, results);
}

SampleArgs ModelRunner::sample_args(SampleArgs args, Wanted wanted) const {
  args.logits = activations_.logits->data();
  args.vocab_size = args.row_stride = model_.config().shape.vocab_size;
  place_outputs(args, args.rows, wanted, outputs_->device());
  args.workspace = {sample_workspace_->data(), sample_workspace_->bytes()};
  return args;
}

// Makes room for what is wanted of the largest step. Within a step nothing is allocated.
void ModelRunner::reserve_outputs(Wanted wanted) {
  if (outputs_ && wanted.top_logprobs <= reserved_top_logprobs_) return;
  outputs_.reset();  // if an allocation fails, the next step tries again
  sample_workspace_.reset();
  const std::int64_t rows = limits_.max_num_logits;
  wanted.logprobs = true;
  auto outputs = backend_.create_staging_buffer(output_bytes(rows, wanted));
  SampleArgs largest;
  largest.rows = rows;
  largest.vocab_size = largest.row_stride = model_.config().shape.vocab_size;
  largest.logits = activations_.logits->data();
  place_outputs(largest, rows, wanted, outputs->device());
  sample_workspace_ = backend_.alloc(backend_.workspace_bytes(largest));
  outputs_ = std::move(outputs);
  reserved_top_logprobs_ = wanted.top_logprobs;
}

void ModelRunner::read_results(const SampleArgs& drawn, std::span<SampleResult> results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    SampleResult& result = results[i];
    result = {};
    result.token = drawn.token[i];
    result.status = drawn.status[i];
    if (drawn.logprob) result.logprob = drawn.logprob[i];
    for (std::size_t k = i * static_cast<std::size_t>(drawn.top); k < (i + 1) * static_cast<std::size_t>(drawn.top); ++k)
      if (drawn.top_token[k] >= 0) result.top.push_back({drawn.top_token[k], drawn.top_logprob[k]});
  }
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
  const KvCacheShape& cache = cache_->shape();
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
