#include "engine/model_runner.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include <fmt/format.h>

#include "core/divide.h"
#include "core/sampling_math.h"
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
  if (wanted.processed) {
    arrays.place(args.filtered_logprob, rows);
    arrays.place(args.num_kept, rows);
    arrays.place(args.total_weight, rows);
    if (args.top > 0) arrays.place(args.top_logit, rows * args.top);
  }
  return arrays.bytes();
}

std::size_t output_bytes(std::int64_t rows, ModelRunner::Wanted wanted) {
  SampleArgs args;
  return place_outputs(args, rows, wanted, nullptr);
}

/// Entry k of the list of the most probable tokens after the filters, whose kept tokens are the first in the list's order.
TokenLogprob processed(const SampleArgs& drawn, std::size_t row, std::size_t k, float temperature) {
  const std::size_t first = row * static_cast<std::size_t>(drawn.top);
  std::uint64_t kept_weight = sampling::kArgmaxWeight;  // if greedy, the argmax is all there is
  if (temperature > 0.0f)
    kept_weight =
        sampling::weight(drawn.top_logit[first + k], drawn.top_logit[first], sampling::exponent_scale(temperature));
  return {drawn.top_token[first + k],
          std::log(static_cast<double>(kept_weight) / static_cast<double>(drawn.total_weight[row]))};
}

SampleResult result_of(const SampleArgs& drawn, std::size_t row, const SampledRow& asked) {
  SampleResult result;
  result.token = drawn.token[row];
  result.status = drawn.status[row];
  if (result.status != SampleStatus::ok) return result;
  if (drawn.logprob) result.logprob = asked.processed_logprobs ? drawn.filtered_logprob[row] : drawn.logprob[row];
  auto count = static_cast<std::size_t>(drawn.top);
  if (asked.processed_logprobs) count = std::min(count, static_cast<std::size_t>(drawn.num_kept[row]));
  const std::size_t first = row * static_cast<std::size_t>(drawn.top);
  for (std::size_t k = 0; k < count && drawn.top_token[first + k] >= 0; ++k)
    result.top.push_back(asked.processed_logprobs ? processed(drawn, row, k, asked.params->temperature)
                                                  : TokenLogprob{drawn.top_token[first + k], drawn.top_logprob[first + k]});
  return result;
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
  std::unique_lock lock(backend_.step_mutex());
  for (const BlockCopy& copy : input.copies) backend_.copy_block({cache_->view(), copy.from, copy.to});
  const PackedInput packed = inputs_.pack(input);
  num_logits_ = input.num_logits();
  reserve_outputs(wanted);
  const std::size_t out_bytes = packed.sample.rows > 0 ? output_bytes(packed.sample.rows, wanted) : 0;
  const auto forward = [&] { model_.forward(packed.batch, *cache_, activations_); };
  const auto draw = [&] {
    if (packed.sample.rows > 0) backend_.sample(sample_args(packed.sample, wanted));
  };
  if (std::ranges::none_of(input.rows, [](const SampledRow& row) { return static_cast<bool>(row.edit_logits); })) {
    backend_.run_step(inputs_.memory(), packed.bytes, *outputs_, out_bytes, packed.is_decode, [&] {
      forward();
      draw();
    });
  } else {  // the host changes logits in between
    backend_.run_step(inputs_.memory(), packed.bytes, *outputs_, 0, packed.is_decode, forward);
    backend_.synchronise();
    edit_logits(input, lock);
    backend_.run_step(inputs_.memory(), packed.bytes, *outputs_, out_bytes, packed.is_decode, draw);
  }
  backend_.synchronise();
  SampleArgs drawn;
  place_outputs(drawn, packed.sample.rows, wanted, outputs_->host());
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = result_of(drawn, i, input.rows[i]);
}

// Without the lock while the application's code runs, which may use the model by another runner.
void ModelRunner::edit_logits(const ModelInput& input, std::unique_lock<FairMutex>& lock) {
  const auto vocab_size = static_cast<std::size_t>(model_.config().shape.vocab_size);
  auto* logits = static_cast<float*>(activations_.logits->data());
  row_.resize(vocab_size);
  for (const SampledRow& row : input.rows) {
    if (!row.edit_logits) continue;
    float* device = logits + static_cast<std::size_t>(row.logits_row) * vocab_size;
    backend_.download(row_.data(), device, vocab_size * sizeof(float));
    lock.unlock();
    row.edit_logits(row_);
    lock.lock();
    backend_.upload(device, row_.data(), vocab_size * sizeof(float));
  }
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
  wanted.logprobs = true;
  wanted.processed = wanted.processed || reserved_.processed;
  wanted.top_logprobs = std::max(wanted.top_logprobs, reserved_.top_logprobs);
  if (outputs_ && wanted == reserved_) return;
  outputs_.reset();  // if an allocation fails, the next step tries again
  sample_workspace_.reset();
  const std::int64_t rows = limits_.max_num_logits;
  auto outputs = backend_.create_staging_buffer(output_bytes(rows, wanted));
  SampleArgs largest;
  largest.rows = rows;
  largest.vocab_size = largest.row_stride = model_.config().shape.vocab_size;
  largest.logits = activations_.logits->data();
  place_outputs(largest, rows, wanted, outputs->device());
  sample_workspace_ = backend_.alloc(backend_.workspace_bytes(largest));
  outputs_ = std::move(outputs);
  reserved_ = wanted;
}

void ModelRunner::download_logits(std::int64_t first, std::span<float> out) {
  const auto vocab_size = static_cast<std::size_t>(model_.config().shape.vocab_size);
  const std::size_t end = static_cast<std::size_t>(first) * vocab_size + out.size();
  if (first < 0 || out.size() % vocab_size != 0 || end > static_cast<std::size_t>(num_logits_) * vocab_size)
    throw InvalidArgument(
        fmt::format("{} logits from row {} on; the step has {} rows of {}", out.size(), first, num_logits_, vocab_size));
  const std::lock_guard lock(backend_.step_mutex());
  const auto* logits = static_cast<const float*>(activations_.logits->data());
  backend_.download(out.data(), logits + static_cast<std::size_t>(first) * vocab_size, out.size() * sizeof(float));
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
  if (input.rows.size() != results.size())
    throw InvalidArgument(fmt::format("step: {} rows and {} results", input.rows.size(), results.size()));
  for (const SampledRow& row : input.rows)
    need(row.logits_row >= 0 && row.logits_row < input.num_logits(), "row of logits", row.logits_row,
         input.num_logits() - 1);
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
