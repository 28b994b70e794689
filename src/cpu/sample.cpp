#include "cpu/sample.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/sampling_params.h"
#include "cpu/isa.h"
#include "warploom/error.h"

namespace warploom {

namespace {

template <typename T>
void require(bool ok, const char* what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

int checked_threads(int threads) {
  require(threads >= 1 && threads <= 1024, "threads", threads, "in [1, 1024]");
  return threads;
}

bool is_vocabulary(std::int64_t size) { return size >= 1 && size <= (std::int64_t{1} << 22); }

}  // namespace

struct Sampler::State {
  State(int threads, CpuIsa isa) : pool(threads), sampler(cpu::kernels_for(isa).sample, pool) {}
  cpu::ThreadPool pool;
  cpu::BatchSampler sampler;
};

Sampler::Sampler(int threads, CpuIsa isa) : state_(std::make_unique<State>(checked_threads(threads), isa)) {}
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

std::vector<SampleResult> Sampler::sample(const LogitsView& logits, std::span<const SamplingInput> rows,
                                          const SampleOutputs& outputs) {
  cpu::check_rows(logits, rows, outputs);
  std::vector<SampleResult> results(rows.size());
  state_->sampler.run(logits, rows, outputs, results);
  return results;
}

void Sampler::sample(const SampleArgs& args) { state_->sampler.run(args); }

std::vector<SampleResult> sample(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& outputs,
                                 int threads) {
  return Sampler(threads).sample(logits, rows, outputs);
}

namespace cpu {

namespace {

std::int64_t mask_words(std::int64_t vocab_size) { return (vocab_size + 31) / 32; }

std::size_t bytes_before(std::int64_t row, std::int64_t row_stride, DType type) {
  return static_cast<std::size_t>(row * row_stride * bytes_of(type));
}

// What the arrays of SampleArgs cannot show: those of a row are looked at by is_valid().
void check_args(const SampleArgs& a) {
  require(is_vocabulary(a.vocab_size), "vocab_size", a.vocab_size, "in [1, 2^22]");
  require(a.rows >= 0, "rows", a.rows, ">= 0");
  require(a.row_stride >= a.vocab_size, "row_stride", a.row_stride, "at least vocab_size");
  require(a.type <= DType::bf16, "type", static_cast<int>(a.type), "f32, f16 or bf16");
  require(a.input == SampleInput::logits, "input", static_cast<int>(a.input), "logits on the CPU");
  require(!a.probabilities && !a.filtered_logits, "probabilities or filtered_logits", "given", "null on the CPU");
  if (a.rows == 0) return;
  require(a.logits != nullptr, "logits", "null", "host memory");
  require(a.token != nullptr, "token", "null", "host memory");
  require(a.status != nullptr, "status", "null", "host memory");
  require(!a.history || a.history_offsets, "history_offsets", "null", "given with history");
  require(!a.bias || a.bias_offsets, "bias_offsets", "null", "given with bias");
  require(!a.allowed || a.allowed_stride >= mask_words(a.vocab_size), "allowed_stride", a.allowed_stride,
          "at least vocab_size / 32, rounded up");
  require(a.top >= 0 && a.top <= 1024, "top", a.top, "in [0, 1024]");
  require(a.top == 0 || a.top_token, "top_token", "null", "given with top");
  require(a.kept_capacity >= 0 && (a.kept_capacity == 0 || a.kept), "kept_capacity", a.kept_capacity,
          ">= 0, and 0 if kept is null");
  require(!a.kept || a.kept_offsets, "kept_offsets", "null", "given with kept");
}

template <typename T>
std::span<const T> list(const T* all, const std::int64_t* offsets, std::int64_t row) {
  return all ? std::span(all + offsets[row], all + offsets[row + 1]) : std::span<const T>();
}

SamplingInput input_of(const SampleArgs& a, std::int64_t r) {
  const auto value = [r](const auto* array, auto otherwise) { return array ? array[r] : otherwise; };
  SamplingInput row;
  SamplingParams& p = row.params;
  p.temperature = value(a.temperature, a.default_temperature);
  p.top_k = value(a.top_k, 0);
  p.top_p = value(a.top_p, p.top_p);
  p.min_p = value(a.min_p, p.min_p);
  p.repetition_penalty = value(a.repetition_penalty, p.repetition_penalty);
  p.frequency_penalty = value(a.frequency_penalty, p.frequency_penalty);
  p.presence_penalty = value(a.presence_penalty, p.presence_penalty);
  p.seed = value(a.seed, p.seed);
  row.position = value(a.position, row.position);
  row.subsequence = value(a.subsequence, row.subsequence);
  if (has_penalties(p)) {
    row.history = list(a.history, a.history_offsets, r);
    row.count_begin = value(a.count_begin, row.count_begin);
  }
  row.bias = list(a.bias, a.bias_offsets, r);
  if (a.allowed) row.allowed = {a.allowed + r * a.allowed_stride, static_cast<std::size_t>(mask_words(a.vocab_size))};
  return row;
}

bool counts_from_within(const SamplingInput& row) {
  return row.count_begin >= 0 && row.count_begin <= static_cast<std::int64_t>(row.history.size());
}

bool is_valid(const SamplingInput& row, std::int64_t vocab_size) {
  const auto known = [vocab_size](TokenId token) { return token >= 0 && token < vocab_size; };
  return warploom::is_valid(row.params) && counts_from_within(row) &&
         std::all_of(row.history.begin(), row.history.end(), known) &&
         std::all_of(row.bias.begin(), row.bias.end(), [&](const LogitBias& bias) { return known(bias.token); });
}

}  // namespace

void check_rows(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& outputs) {
  require(is_vocabulary(logits.vocab_size), "logits.vocab_size", logits.vocab_size, "in [1, 2^22]");
  require(logits.rows == static_cast<std::int64_t>(rows.size()), "logits.rows", logits.rows, "the number of sampling rows");
  require(logits.row_stride >= logits.vocab_size, "logits.row_stride", logits.row_stride, "at least the vocabulary");
  require(rows.empty() || logits.data != nullptr, "logits.data", "null", "a pointer to the logits");
  require(outputs.top_logprobs >= 0, "top_logprobs", outputs.top_logprobs, ">= 0");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    validate(rows[r].params);
    const auto check = [&](TokenId token, const char* where) {
      if (token < 0 || token >= logits.vocab_size)
        throw InvalidArgument(
            fmt::format("row {}: token {} of the {} is not in [0, {})", r, token, where, logits.vocab_size));
    };
    for (const TokenId token : rows[r].history) check(token, "history");
    if (!counts_from_within(rows[r]))
      throw InvalidArgument(fmt::format("row {}: count_begin is {}; it must be in [0, {}], the length of the history", r,
                                        rows[r].count_begin, rows[r].history.size()));
    for (const LogitBias& bias : rows[r].bias) check(bias.token, "bias");
    const auto words = static_cast<std::int64_t>(rows[r].allowed.size());
    if (words > 0 && words < mask_words(logits.vocab_size))
      throw InvalidArgument(fmt::format("row {}: the mask of allowed tokens has {} words; a vocabulary of {} takes {}", r,
                                        words, logits.vocab_size, mask_words(logits.vocab_size)));
  }
}

BatchSampler::BatchSampler(const SampleKernels& kernels, ThreadPool& pool) : pool_(pool) {
  for (int thread = 0; thread < pool.threads(); ++thread) scratch_.emplace_back(kernels);
}

void BatchSampler::run(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& outputs,
                       std::span<SampleResult> results) {
  pool_.parallel_for(static_cast<std::int64_t>(rows.size()), 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t r = begin; r < end; ++r) {
      const auto* row = static_cast<const std::byte*>(logits.data) + bytes_before(r, logits.row_stride, logits.type);
      const auto i = static_cast<std::size_t>(r);
      scratch_[static_cast<std::size_t>(thread)].sampler.run(row, logits.type, logits.vocab_size, rows[i], outputs,
                                                             results[i]);
    }
  });
}

void BatchSampler::run(const SampleArgs& args) {
  check_args(args);
  if (args.kept_offsets) kept_.resize(static_cast<std::size_t>(args.rows));
  pool_.parallel_for(args.rows, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t r = begin; r < end; ++r) run_row(args, r, scratch_[static_cast<std::size_t>(thread)]);
  });
  if (!args.kept_offsets) return;
  args.kept_offsets[0] = 0;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const std::vector<TokenId>& kept = kept_[static_cast<std::size_t>(r)];
    const auto count = static_cast<std::int64_t>(kept.size()), from = args.kept_offsets[r];
    if (from < args.kept_capacity) std::copy_n(kept.begin(), std::min(count, args.kept_capacity - from), args.kept + from);
    args.kept_offsets[r + 1] = from + count;
  }
}

void BatchSampler::run_row(const SampleArgs& a, std::int64_t r, Scratch& scratch) {
  RowSampler& sampler = scratch.sampler;
  SampleResult& result = scratch.result;
  const SamplingInput row = input_of(a, r);
  if (is_valid(row, a.vocab_size)) {
    const SampleOutputs outputs{a.logprob != nullptr, a.filtered_logprob != nullptr, a.top, a.kept_offsets != nullptr};
    const auto* logits =
        static_cast<const std::byte*>(a.logits) + bytes_before(a.row_index ? a.row_index[r] : r, a.row_stride, a.type);
    sampler.run(logits, a.type, a.vocab_size, row, outputs, result);
  } else {
    result = {};
    result.status = SampleStatus::invalid_parameters;
  }
  a.token[r] = result.token;
  a.status[r] = result.status;
  if (a.argmax) a.argmax[r] = result.argmax;
  if (a.num_kept) a.num_kept[r] = result.num_kept;
  if (a.total_weight) a.total_weight[r] = result.total_weight;
  if (a.logprob) a.logprob[r] = result.logprob;
  if (a.filtered_logprob) a.filtered_logprob[r] = result.filtered_logprob;
  for (std::int64_t i = 0; i < a.top; ++i) {
    const bool listed = i < static_cast<std::int64_t>(result.top.size());
    const TokenLogprob top =
        listed ? result.top[static_cast<std::size_t>(i)] : TokenLogprob{-1, -std::numeric_limits<double>::infinity()};
    a.top_token[r * a.top + i] = top.token;
    if (a.top_logprob) a.top_logprob[r * a.top + i] = top.logprob;
    if (a.top_logit)
      a.top_logit[r * a.top + i] = listed ? sampler.logit(top.token) : -std::numeric_limits<float>::infinity();
  }
  if (a.kept_offsets) kept_[static_cast<std::size_t>(r)].swap(result.kept);
}

}  // namespace cpu
}  // namespace warploom
