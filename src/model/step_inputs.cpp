#include "model/step_inputs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "core/penalties.h"
#include "warploom/error.h"

namespace warploom {

void StepInput::clear() {
  ids.clear();
  positions.clear();
  sequences.clear();
  block_tables.clear();
  outputs.clear();
  table_stride = 0;
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
    if (used_ + bytes > capacity_) throw InvalidArgument(fmt::format("step: its input takes more than the {} bytes planned", capacity_));
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

std::size_t capacity_for(const StepLimits& limits) {
  const auto part = [](std::int64_t count, std::size_t bytes) { return aligned(static_cast<std::size_t>(count) * bytes); };
  const std::size_t tokens = 3 * part(limits.max_tokens, 4) + part(limits.max_sequences + 1, 4) +
                             part(limits.max_sequences * limits.table_stride, 4) + part(limits.max_outputs, 4);
  const std::size_t drawing = 8 * part(limits.max_outputs, 4) + 2 * part(limits.max_outputs, 8);
  const std::size_t lists = 2 * part(limits.max_outputs + 1, 8) + part(limits.biases, sizeof(LogitBias)) + part(limits.history, 4);
  return std::bit_ceil(tokens + drawing + lists);
}

bool is_penalised(const SampleRow& row) { return has_penalties(row.params); }

// One field of every row; padding rows are greedy, and what else they have does not matter.
template <typename T, typename Get>
const T* put_field(Packer& packer, std::span<const SampleRow> rows, std::int64_t count, Get get) {
  const T* place = nullptr;
  const std::span<T> to = packer.take(count, &place);
  SampleRow padding;
  padding.params.temperature = 0.0f;
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<T>(get(i < rows.size() ? rows[i] : padding));
  return place;
}

// All rows' lists, one after the other, and where each begins.
template <typename T, typename Get>
void put_lists(Packer& packer, std::span<const SampleRow> rows, std::int64_t count, const T** list, const std::int64_t** offsets, Get get) {
  const std::span<std::int64_t> starts = packer.take(count + 1, offsets);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    starts[i] = total;
    if (i < rows.size()) total += static_cast<std::int64_t>(get(rows[i]).size());
  }
  std::span<T> to = packer.take(total, list);
  for (const SampleRow& row : rows) {
    const auto values = get(row);
    std::copy(values.begin(), values.end(), to.begin());
    to = to.subspan(values.size());
  }
}

SampleArgs pack_rows(Packer& packer, std::span<const SampleRow> rows, std::int64_t count) {
  SampleArgs args;
  args.rows = count;
  const auto field = [&]<typename T>(const T** place, auto get) { *place = put_field<T>(packer, rows, count, get); };
  field(&args.temperature, [](const SampleRow& r) { return r.params.temperature; });
  field(&args.top_k, [](const SampleRow& r) { return std::min<std::int64_t>(r.params.top_k, INT32_MAX); });
  field(&args.top_p, [](const SampleRow& r) { return r.params.top_p; });
  field(&args.min_p, [](const SampleRow& r) { return r.params.min_p; });
  field(&args.seed, [](const SampleRow& r) { return r.params.seed; });
  field(&args.position, [](const SampleRow& r) { return r.position; });
  field(&args.stream, [](const SampleRow& r) { return r.stream; });
  if (std::any_of(rows.begin(), rows.end(), [](const SampleRow& r) { return !r.bias.empty(); }))
    put_lists(packer, rows, count, &args.bias, &args.bias_offsets, [](const SampleRow& r) { return r.bias; });
  if (std::any_of(rows.begin(), rows.end(), is_penalised)) {
    field(&args.repetition_penalty, [](const SampleRow& r) { return r.params.repetition_penalty; });
    field(&args.frequency_penalty, [](const SampleRow& r) { return r.params.frequency_penalty; });
    field(&args.presence_penalty, [](const SampleRow& r) { return r.params.presence_penalty; });
    put_lists(packer, rows, count, &args.history, &args.history_offsets,
              [](const SampleRow& r) { return is_penalised(r) ? r.history : std::span<const TokenId>(); });
  }
  return args;
}

}  // namespace

StepInputs::StepInputs(Backend& backend, const StepLimits& limits)
    : backend_(backend), limits_(limits), memory_(backend.create_step_memory(capacity_for(limits))) {}

StepPlace StepInputs::pack(const StepInput& input, std::span<const SampleRow> rows) {
  const auto given = static_cast<std::int64_t>(input.ids.size()), outputs = static_cast<std::int64_t>(input.outputs.size());
  const std::int64_t sequences = given == 0 ? 0 : input.sequences.back() + 1;
  if (sequences > limits_.max_sequences || input.table_stride > limits_.table_stride)
    throw InvalidArgument(fmt::format("step: {} sequences of {} block table entries; planned for {} of {}", sequences,
                                      input.table_stride, limits_.max_sequences, limits_.table_stride));
  // A decode step: every sequence has one token and draws the next.
  const bool decodes = sequences == given && outputs == given && static_cast<std::int64_t>(rows.size()) == given;
  std::int64_t tokens = given, stride = input.table_stride;
  if (decodes) {
    tokens = std::min({backend_.padded_tokens(given), limits_.max_tokens, limits_.max_outputs, limits_.max_sequences});
    tokens = std::max(tokens, given);
    stride = std::min(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(stride))), limits_.table_stride);
  }
  const std::int64_t padding = tokens - given;

  StepPlace place;
  Packer packer(memory_->host(), memory_->device(), memory_->bytes());
  place.ids = packer.put(input.ids, tokens, TokenId{0});
  StepLayout& layout = place.layout;
  layout.tokens = tokens;
  layout.sequence_count = sequences + padding;
  layout.table_stride = stride;
  layout.positions = packer.put(input.positions, tokens, std::int32_t{-1});
  const std::span<std::int32_t> owners = packer.take(tokens, &layout.sequences);
  const std::span<std::int32_t> starts = packer.take(layout.sequence_count + 1, &layout.starts);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t owner = t < given ? input.sequences[static_cast<std::size_t>(t)] : sequences + t - given;
    owners[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(owner);
    const bool first = t == 0 || owner != owners[static_cast<std::size_t>(t) - 1];
    if (first) starts[static_cast<std::size_t>(owner)] = static_cast<std::int32_t>(t);
  }
  starts.back() = static_cast<std::int32_t>(tokens);
  for (std::size_t s = 0; s + 1 < starts.size(); ++s)
    layout.most_tokens = std::max<std::int64_t>(layout.most_tokens, starts[s + 1] - starts[s]);
  const std::span<std::int32_t> tables = packer.take(layout.sequence_count * stride, &layout.block_tables);
  std::fill(tables.begin(), tables.end(), 0);
  for (std::int64_t s = 0; s < sequences; ++s)
    std::copy_n(input.block_tables.begin() + s * input.table_stride, input.table_stride, tables.begin() + s * stride);

  const std::int64_t places = outputs + padding;
  const std::span<std::int32_t> rows_wanted = packer.take(places, &place.outputs);
  for (std::int64_t i = 0; i < places; ++i)
    rows_wanted[static_cast<std::size_t>(i)] =
        i < outputs ? input.outputs[static_cast<std::size_t>(i)] : static_cast<std::int32_t>(given + i - outputs);
  if (!rows.empty()) place.sample = pack_rows(packer, rows, places);

  place.key = {.tokens = tokens, .outputs = places, .table_stride = stride, .repeats = decodes, .samples = !rows.empty()};
  for (const SampleRow& row : rows) place.key.biases += static_cast<std::int64_t>(row.bias.size());
  place.key.penalised = place.sample.history != nullptr;
  // Histories grow from step to step: a few sizes stand for all.
  place.key.bytes = place.sample.history ? std::min(std::bit_ceil(packer.used()), packer.capacity()) : packer.used();
  return place;
}

}  // namespace warploom
