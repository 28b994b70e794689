#include "model/input_buffers.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "core/sampling_params.h"
#include "warploom/error.h"

namespace warploom {

void ModelInput::clear() {
  ids.clear();
  positions.clear();
  sequences.clear();
  block_tables.clear();
  outputs.clear();
  max_blocks_per_seq = 0;
}

namespace {

constexpr std::size_t kAlignment = 16;  // the device reads arrays in pieces of up to so many bytes

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Hands out pieces of the memory one after the other.
class Packer {
 public:
  Packer(std::byte* host, std::byte* device, std::size_t capacity) : host_(host), device_(device), capacity_(capacity) {}

  /// The host's side of `count` elements; `place` gets the device's.
  template <typename T>
  std::span<T> take(std::int64_t count, const T** place) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (used_ + bytes > capacity_)
      throw InvalidArgument(fmt::format("step: its input takes more than the {} bytes planned", capacity_));
    T* at = reinterpret_cast<T*>(host_ + used_);
    *place = reinterpret_cast<const T*>(device_ + used_);
    used_ = aligned(used_ + bytes);
    return {at, static_cast<std::size_t>(count)};
  }
  template <typename T>
  const T* put(const std::vector<T>& values, std::int64_t count, T filler) {
    const T* place = nullptr;
    const std::span<T> to = take(count, &place);
    std::fill(std::copy(values.begin(), values.end(), to.begin()), to.end(), filler);
    return place;
  }
  std::size_t used() const { return used_; }
  std::size_t capacity() const { return capacity_; }

 private:
  std::byte* host_;
  std::byte* device_;
  std::size_t capacity_, used_ = 0;
};

std::size_t capacity_for(const BatchLimits& limits) {
  const auto part = [](std::int64_t count, std::size_t bytes) { return aligned(static_cast<std::size_t>(count) * bytes); };
  const std::size_t tokens = 3 * part(limits.max_tokens, 4) + part(limits.max_sequences + 1, 4) +
                             part(limits.max_sequences * limits.max_blocks_per_seq, 4) + part(limits.max_outputs, 4);
  const std::size_t drawing = 8 * part(limits.max_outputs, 4) + 2 * part(limits.max_outputs, 8);
  const std::size_t lists = 2 * part(limits.max_outputs + 1, 8) + part(limits.biases, sizeof(LogitBias)) +
                            part(limits.history, 4) + part(limits.mask_words, 4);
  return std::bit_ceil(tokens + drawing + lists);
}

bool is_penalised(const SamplingInput& row) { return has_penalties(row.params); }

// One field of every row; padding rows are greedy, and what else they have does not matter.
template <typename T, typename Get>
const T* put_field(Packer& packer, std::span<const SamplingInput> rows, std::int64_t count, Get get) {
  const T* place = nullptr;
  const std::span<T> to = packer.take(count, &place);
  SamplingInput padding;
  padding.params.temperature = 0.0f;
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<T>(get(i < rows.size() ? rows[i] : padding));
  return place;
}

// All rows' lists, one after the other, and where each begins.
template <typename T, typename Get>
void put_lists(Packer& packer, std::span<const SamplingInput> rows, std::int64_t count, const T** list,
               const std::int64_t** offsets, Get get) {
  const std::span<std::int64_t> starts = packer.take(count + 1, offsets);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    starts[i] = total;
    if (i < rows.size()) total += static_cast<std::int64_t>(get(rows[i]).size());
  }
  std::span<T> to = packer.take(total, list);
  for (const SamplingInput& row : rows) {
    const auto values = get(row);
    std::copy(values.begin(), values.end(), to.begin());
    to = to.subspan(values.size());
  }
}

SampleArgs pack_rows(Packer& packer, std::span<const SamplingInput> rows, std::int64_t count) {
  SampleArgs args;
  args.rows = count;
  const auto field = [&]<typename T>(const T** place, auto get) { *place = put_field<T>(packer, rows, count, get); };
  field(&args.temperature, [](const SamplingInput& r) { return r.params.temperature; });
  field(&args.top_k, [](const SamplingInput& r) { return std::min<std::int64_t>(r.params.top_k, INT32_MAX); });
  field(&args.top_p, [](const SamplingInput& r) { return r.params.top_p; });
  field(&args.min_p, [](const SamplingInput& r) { return r.params.min_p; });
  field(&args.seed, [](const SamplingInput& r) { return r.params.seed; });
  field(&args.position, [](const SamplingInput& r) { return r.position; });
  field(&args.subsequence, [](const SamplingInput& r) { return r.subsequence; });
  if (std::any_of(rows.begin(), rows.end(), [](const SamplingInput& r) { return !r.bias.empty(); }))
    put_lists(packer, rows, count, &args.bias, &args.bias_offsets, [](const SamplingInput& r) { return r.bias; });
  if (std::any_of(rows.begin(), rows.end(), is_penalised)) {
    field(&args.repetition_penalty, [](const SamplingInput& r) { return r.params.repetition_penalty; });
    field(&args.frequency_penalty, [](const SamplingInput& r) { return r.params.frequency_penalty; });
    field(&args.presence_penalty, [](const SamplingInput& r) { return r.params.presence_penalty; });
    put_lists(packer, rows, count, &args.history, &args.history_offsets,
              [](const SamplingInput& r) { return is_penalised(r) ? r.history : std::span<const TokenId>(); });
  }
  for (const SamplingInput& row : rows)
    args.allowed_stride = std::max(args.allowed_stride, static_cast<std::int64_t>(row.allowed.size()));
  if (args.allowed_stride > 0) {
    std::span<std::uint32_t> words = packer.take(count * args.allowed_stride, &args.allowed);
    std::fill(words.begin(), words.end(), ~0u);  // a row without a mask
    for (const SamplingInput& row : rows) {
      std::copy(row.allowed.begin(), row.allowed.end(), words.begin());
      words = words.subspan(static_cast<std::size_t>(args.allowed_stride));
    }
  }
  return args;
}

}  // namespace

InputBuffers::InputBuffers(Backend& backend, const BatchLimits& limits)
    : backend_(backend), limits_(limits), memory_(backend.create_staging_buffer(capacity_for(limits))) {}

DeviceBatch InputBuffers::pack(const ModelInput& input, std::span<const SamplingInput> rows) {
  const auto given = static_cast<std::int64_t>(input.ids.size()), outputs = static_cast<std::int64_t>(input.outputs.size());
  const std::int64_t sequences = given == 0 ? 0 : input.sequences.back() + 1;
  if (sequences > limits_.max_sequences || input.max_blocks_per_seq > limits_.max_blocks_per_seq)
    throw InvalidArgument(fmt::format("step: {} sequences of {} block table entries; planned for {} of {}", sequences,
                                      input.max_blocks_per_seq, limits_.max_sequences, limits_.max_blocks_per_seq));
  // A decode step: every sequence has one token and draws the next.
  const bool decodes = sequences == given && outputs == given && static_cast<std::int64_t>(rows.size()) == given;
  std::int64_t tokens = given, stride = input.max_blocks_per_seq;
  if (decodes) {
    tokens = std::min({backend_.graph_batch_size(given), limits_.max_tokens, limits_.max_outputs, limits_.max_sequences});
    tokens = std::max(tokens, given);
    stride =
        std::min(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(stride))), limits_.max_blocks_per_seq);
  }
  const std::int64_t padding = tokens - given;

  DeviceBatch place;
  Packer packer(memory_->host(), memory_->device(), memory_->bytes());
  place.ids = packer.put(input.ids, tokens, TokenId{0});
  AttentionMetadata& layout = place.metadata;
  layout.num_tokens = tokens;
  layout.num_seqs = sequences + padding;
  layout.max_blocks_per_seq = stride;
  layout.positions = packer.put(input.positions, tokens, std::int32_t{-1});
  const std::span<std::int32_t> owners = packer.take(tokens, &layout.token_to_seq);
  const std::span<std::int32_t> starts = packer.take(layout.num_seqs + 1, &layout.qo_indptr);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t owner = t < given ? input.sequences[static_cast<std::size_t>(t)] : sequences + t - given;
    owners[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(owner);
    const bool first = t == 0 || owner != owners[static_cast<std::size_t>(t) - 1];
    if (first) starts[static_cast<std::size_t>(owner)] = static_cast<std::int32_t>(t);
  }
  starts.back() = static_cast<std::int32_t>(tokens);
  for (std::size_t s = 0; s + 1 < starts.size(); ++s)
    layout.max_query_len = std::max<std::int64_t>(layout.max_query_len, starts[s + 1] - starts[s]);
  const std::span<std::int32_t> tables = packer.take(layout.num_seqs * stride, &layout.block_tables);
  std::fill(tables.begin(), tables.end(), 0);
  for (std::int64_t s = 0; s < sequences; ++s)
    std::copy_n(input.block_tables.begin() + s * input.max_blocks_per_seq, input.max_blocks_per_seq,
                tables.begin() + s * stride);

  const std::int64_t places = outputs + padding;
  const std::span<std::int32_t> rows_wanted = packer.take(places, &place.outputs);
  for (std::int64_t i = 0; i < places; ++i)
    rows_wanted[static_cast<std::size_t>(i)] =
        i < outputs ? input.outputs[static_cast<std::size_t>(i)] : static_cast<std::int32_t>(given + i - outputs);
  if (!rows.empty()) place.sample = pack_rows(packer, rows, places);

  place.key = {
      .tokens = tokens, .outputs = places, .max_blocks_per_seq = stride, .repeats = decodes, .samples = !rows.empty()};
  for (const SamplingInput& row : rows) place.key.biases += static_cast<std::int64_t>(row.bias.size());
  place.key.penalised = place.sample.history != nullptr;
  place.key.masked = place.sample.allowed != nullptr;
  // Histories grow from step to step: a few sizes stand for all.
  place.key.bytes = place.sample.history ? std::min(std::bit_ceil(packer.used()), packer.capacity()) : packer.used();
  return place;
}

}  // namespace warploom
