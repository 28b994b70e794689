#include "engine/input_buffers.h"

#include <algorithm>
#include <bit>

#include "core/divide.h"
#include "core/sampling_params.h"

namespace warploom {

std::int64_t ModelInput::num_logits() const {
  std::int64_t sum = 0;
  for (const SequenceInput& sequence : sequences) sum += sequence.num_logits;
  return sum;
}

void ModelInput::clear() {
  copies.clear();
  token_ids.clear();
  sequences.clear();
  rows.clear();
}

namespace {

constexpr std::size_t kAlignment = 16;  // the device reads arrays in pieces of up to this many bytes

std::size_t array_bytes(std::int64_t count, std::size_t element) {
  return align_up(static_cast<std::size_t>(count) * element, kAlignment);
}

// Hands out arrays one after the other.
class Packer {
 public:
  explicit Packer(StagingBuffer& memory) : host_(memory.host()), device_(memory.device()) {}

  /// The host's side of `count` elements; `place` gets the device's.
  template <typename T>
  std::span<T> take(std::int64_t count, const T** place) {
    T* at = reinterpret_cast<T*>(host_ + used_);
    *place = reinterpret_cast<const T*>(device_ + used_);
    used_ += array_bytes(count, sizeof(T));
    return {at, static_cast<std::size_t>(count)};
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* host_;
  std::byte* device_;
  std::size_t used_ = 0;
};

bool is_penalised(const SampledRow& row) { return has_penalties(*row.params); }
std::int64_t history_size(const SampledRow& row) {
  return is_penalised(row) ? static_cast<std::int64_t>(row.prompt.size() + row.output.size()) : 0;
}

std::int64_t count_begin_of(const SampledRow& row) {
  return is_penalised(row) && !row.penalize_prompt ? static_cast<std::int64_t>(row.prompt.size()) : 0;
}

/// What a step holds, padding included.
struct Sizes {
  std::int64_t tokens = 0, sequences = 0, blocks_per_seq = 0, logits = 0, rows = 0;
  std::int64_t history = 0, biases = 0;  // over all rows
  std::int64_t mask_words = 0;           // of each row; 0 if none has a mask
  bool penalised = false;
  bool indexed = false;      // rows are not those of the logits, one by one
  bool some_logits = false;  // not of all tokens, and not of none

  std::size_t bytes() const {
    std::size_t sum = 3 * array_bytes(tokens, 4) + array_bytes(sequences + 1, 4) +
                      array_bytes(sequences * blocks_per_seq, 4) + array_bytes(logits, 4);
    if (some_logits) sum += 2 * array_bytes(logits, 4) + array_bytes(sequences + 1, 4);
    if (rows > 0) sum += 5 * array_bytes(rows, 4) + 2 * array_bytes(rows, 8);
    if (indexed) sum += array_bytes(rows, 8);
    if (biases > 0) sum += array_bytes(rows + 1, 8) + array_bytes(biases, sizeof(LogitBias));
    sum += array_bytes(rows * mask_words, 4);
    if (penalised)
      sum += 3 * array_bytes(rows, 4) + array_bytes(rows, 8) + array_bytes(rows + 1, 8) + array_bytes(history, 4);
    return sum;
  }
};

Sizes sizes_of(const ModelInput& input) {
  Sizes sizes;
  sizes.tokens = static_cast<std::int64_t>(input.token_ids.size());
  sizes.sequences = static_cast<std::int64_t>(input.sequences.size());
  for (const SequenceInput& sequence : input.sequences)
    sizes.blocks_per_seq = std::max(sizes.blocks_per_seq, static_cast<std::int64_t>(sequence.block_table.size()));
  sizes.logits = input.num_logits();
  sizes.rows = static_cast<std::int64_t>(input.rows.size());
  sizes.some_logits = sizes.logits > 0 && sizes.logits < sizes.tokens;
  sizes.indexed = sizes.rows > 0 && sizes.rows != sizes.logits;
  for (const SampledRow& row : input.rows) {
    sizes.history += history_size(row);
    sizes.biases += static_cast<std::int64_t>(row.bias.size());
    sizes.mask_words = std::max(sizes.mask_words, static_cast<std::int64_t>(row.allowed.size()));
    sizes.penalised = sizes.penalised || is_penalised(row);
  }
  return sizes;
}

// Which tokens a step has, or some of them.
struct TokenArrays {
  std::span<std::int32_t> positions, owners, indptr;
  TokenArrays(Packer& packer, std::int64_t tokens, std::int64_t sequences, AttentionMetadata& metadata)
      : positions(packer.take(tokens, &metadata.positions)),
        owners(packer.take(tokens, &metadata.token_to_seq)),
        indptr(packer.take(sequences + 1, &metadata.qo_indptr)) {}

  /// Fills them with the last `count` tokens of each sequence, for example SequenceInput::num_tokens. Returns how many there are.
  std::size_t fill(const ModelInput& input, std::int64_t SequenceInput::*count, AttentionMetadata& metadata) const {
    std::size_t token = 0, seq = 0;
    metadata.max_query_len = 0;
    for (const SequenceInput& sequence : input.sequences) {
      indptr[seq] = static_cast<std::int32_t>(token);
      const std::int64_t end = sequence.first_position + sequence.num_tokens;
      for (std::int64_t position = end - sequence.*count; position < end; ++position, ++token) {
        positions[token] = static_cast<std::int32_t>(position);
        owners[token] = static_cast<std::int32_t>(seq);
      }
      metadata.max_query_len = std::max(metadata.max_query_len, sequence.*count);
      ++seq;
    }
    indptr[seq] = static_cast<std::int32_t>(token);
    return token;
  }
};

void pack_tokens(Packer& packer, const ModelInput& input, const Sizes& sizes, DeviceBatch& batch) {
  AttentionMetadata& metadata = batch.metadata;
  metadata.num_tokens = sizes.tokens;
  metadata.num_seqs = sizes.sequences;
  metadata.max_blocks_per_seq = sizes.blocks_per_seq;
  const std::span<TokenId> ids = packer.take(sizes.tokens, &batch.token_ids);
  const TokenArrays arrays(packer, sizes.tokens, sizes.sequences, metadata);
  const std::span<std::int32_t> tables = packer.take(sizes.sequences * sizes.blocks_per_seq, &metadata.block_tables);
  const std::span<std::int32_t> logits = packer.take(sizes.logits, &batch.logits_indices);
  batch.num_logits = sizes.logits;

  std::fill(std::ranges::copy(input.token_ids, ids.begin()).out, ids.end(), TokenId{0});
  std::ranges::fill(tables, 0);
  std::size_t token = arrays.fill(input, &SequenceInput::num_tokens, metadata), logit = 0, seq = 0;
  for (const SequenceInput& sequence : input.sequences) {
    std::ranges::copy(sequence.block_table, tables.begin() + static_cast<std::ptrdiff_t>(seq) * sizes.blocks_per_seq);
    const std::int32_t end = arrays.indptr[++seq];
    for (auto i = static_cast<std::int32_t>(end - sequence.num_logits); i < end; ++i) logits[logit++] = i;
  }
  for (; token < ids.size(); ++token) {  // padding tokens: a sequence and a row of logits each
    arrays.owners[token] = static_cast<std::int32_t>(seq);
    arrays.positions[token] = -1;
    logits[logit++] = static_cast<std::int32_t>(token);
    arrays.indptr[++seq] = static_cast<std::int32_t>(token + 1);
  }
}

// The same sequences with the tokens alone whose logits are wanted, the last ones of each.
AttentionMetadata pack_logits_metadata(Packer& packer, const ModelInput& input, const Sizes& sizes,
                                       AttentionMetadata metadata) {
  metadata.num_tokens = sizes.logits;
  TokenArrays(packer, sizes.logits, sizes.sequences, metadata).fill(input, &SequenceInput::num_logits, metadata);
  return metadata;
}

// One parameter of every row. Padding rows are greedy; their other parameters are the defaults.
template <typename T, typename Get>
void pack_field(Packer& packer, const ModelInput& input, std::int64_t count, const T** place, Get get) {
  static constexpr SamplingParams kGreedy{.temperature = 0.0f};
  static const SampledRow padding = [] {
    SampledRow row;
    row.params = &kGreedy;
    return row;
  }();
  const std::span<T> to = packer.take(count, place);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<T>(get(i < input.rows.size() ? input.rows[i] : padding));
}

// All rows' lists, one after the other, and where each begins.
template <typename T, typename Append>
void pack_lists(Packer& packer, const ModelInput& input, std::int64_t count, std::int64_t total, const T** list,
                const std::int64_t** offsets, Append append) {
  const std::span<std::int64_t> starts = packer.take(count + 1, offsets);
  const std::span<T> items = packer.take(total, list);
  auto end = items.begin();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    starts[i] = end - items.begin();
    if (i < input.rows.size()) end = append(input.rows[i], end);
  }
}

SampleArgs pack_rows(Packer& packer, const ModelInput& input, const Sizes& sizes) {
  SampleArgs args;
  if (sizes.rows == 0) return args;
  args.rows = sizes.rows;
  const auto field = [&]<typename T>(const T** place, auto get) { pack_field(packer, input, sizes.rows, place, get); };
  if (sizes.indexed) field(&args.row_index, [](const SampledRow& r) { return r.logits_row; });
  field(&args.temperature, [](const SampledRow& r) { return r.params->temperature; });
  field(&args.top_k, [](const SampledRow& r) { return std::min<std::int64_t>(r.params->top_k, INT32_MAX); });
  field(&args.top_p, [](const SampledRow& r) { return r.params->top_p; });
  field(&args.min_p, [](const SampledRow& r) { return r.params->min_p; });
  field(&args.seed, [](const SampledRow& r) { return r.params->seed; });
  field(&args.position, [](const SampledRow& r) { return r.position; });
  field(&args.subsequence, [](const SampledRow& r) { return r.subsequence; });
  if (sizes.biases > 0)
    pack_lists(packer, input, sizes.rows, sizes.biases, &args.bias, &args.bias_offsets,
               [](const SampledRow& r, auto to) { return std::ranges::copy(r.bias, to).out; });
  if (sizes.mask_words > 0) {
    args.allowed_stride = sizes.mask_words;
    const std::span<std::uint32_t> words = packer.take(sizes.rows * sizes.mask_words, &args.allowed);
    std::ranges::fill(words, ~std::uint32_t{0});
    auto at = words.begin();
    for (const SampledRow& row : input.rows) {
      std::ranges::copy(row.allowed, at);
      at += sizes.mask_words;
    }
  }
  if (!sizes.penalised) return args;
  field(&args.repetition_penalty, [](const SampledRow& r) { return r.params->repetition_penalty; });
  field(&args.frequency_penalty, [](const SampledRow& r) { return r.params->frequency_penalty; });
  field(&args.presence_penalty, [](const SampledRow& r) { return r.params->presence_penalty; });
  field(&args.count_begin, [](const SampledRow& r) { return count_begin_of(r); });
  // Last, because it grows: what lies behind it would be elsewhere in each step.
  pack_lists(packer, input, sizes.rows, sizes.history, &args.history, &args.history_offsets,
             [](const SampledRow& r, auto to) {
               if (!is_penalised(r)) return to;
               return std::ranges::copy(r.output, std::ranges::copy(r.prompt, to).out).out;
             });
  return args;
}

std::size_t capacity_for(const BatchLimits& limits) {
  Sizes sizes;
  sizes.tokens = limits.max_num_tokens;
  sizes.sequences = limits.max_num_seqs;
  sizes.blocks_per_seq = limits.max_blocks_per_seq;
  sizes.logits = sizes.rows = limits.max_num_logits;
  sizes.some_logits = true;
  return std::bit_ceil(sizes.bytes());
}

}  // namespace

InputBuffers::InputBuffers(Backend& backend, const BatchLimits& limits)
    : backend_(backend), limits_(limits), memory_(backend.create_staging_buffer(capacity_for(limits))) {}

PackedInput InputBuffers::pack(const ModelInput& input) {
  Sizes sizes = sizes_of(input);
  const bool decodes = sizes.sequences == sizes.tokens && sizes.logits == sizes.tokens && sizes.rows == sizes.tokens;
  if (decodes) {
    const std::int64_t limit = std::min({limits_.max_num_tokens, limits_.max_num_logits, limits_.max_num_seqs});
    sizes.tokens = std::max(sizes.tokens, std::min(backend_.graph_batch_size(sizes.tokens), limit));
    sizes.sequences = sizes.logits = sizes.rows = sizes.tokens;
    sizes.blocks_per_seq =
        std::min(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(sizes.blocks_per_seq))),
                 limits_.max_blocks_per_seq);
  }
  // Histories grow from step to step: a few sizes stand for all of them.
  const std::size_t bytes = sizes.penalised ? std::bit_ceil(sizes.bytes()) : sizes.bytes();
  if (bytes > memory_->bytes()) memory_ = backend_.create_staging_buffer(std::bit_ceil(bytes));

  PackedInput packed;
  Packer packer(*memory_);
  pack_tokens(packer, input, sizes, packed.batch);
  if (sizes.some_logits) packed.batch.logits_metadata = pack_logits_metadata(packer, input, sizes, packed.batch.metadata);
  packed.sample = pack_rows(packer, input, sizes);
  packed.bytes = bytes;
  packed.is_decode = decodes;
  return packed;
}

}  // namespace warploom
