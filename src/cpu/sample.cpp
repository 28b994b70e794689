#include "cpu/sample.h"

#include <cmath>

#include <fmt/format.h>

#include "cpu/isa.h"
#include "warploom/error.h"

namespace warploom {

namespace {

template <typename T>
void require(bool ok, const char* what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

}  // namespace

void validate(const SamplingParams& p) {
  require(std::isfinite(p.temperature) && p.temperature >= 0.0f, "temperature", p.temperature,
          "a number >= 0 (0 is greedy)");
  require(p.top_k >= 0, "top_k", p.top_k, ">= 0 (0 is off)");
  require(p.top_p > 0.0f, "top_p", p.top_p, "> 0 (1 and above is off)");
  require(p.min_p >= 0.0f && p.min_p <= 1.0f, "min_p", p.min_p, "in [0, 1] (0 is off)");
  require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0.0f, "repetition_penalty", p.repetition_penalty,
          "a number > 0 (1 is off)");
  require(std::isfinite(p.frequency_penalty), "frequency_penalty", p.frequency_penalty, "a finite number (0 is off)");
  require(std::isfinite(p.presence_penalty), "presence_penalty", p.presence_penalty, "a finite number (0 is off)");
}

std::vector<SampleResult> sample(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& wants,
                                 int threads) {
  require(threads >= 1 && threads <= 1024, "threads", threads, "in [1, 1024]");
  cpu::check_rows(logits, rows, wants);
  std::vector<SampleResult> results(rows.size());
  cpu::ThreadPool pool(threads);
  cpu::Sampler(cpu::kernels_for(CpuIsa::automatic).sample, pool).run(logits, rows, wants, results);
  return results;
}

namespace cpu {

void check_rows(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& wants) {
  require(logits.vocab_size >= 1 && logits.vocab_size <= (std::int64_t{1} << 22), "logits.vocab", logits.vocab_size,
          "in [1, 2^22]");
  require(logits.rows == static_cast<std::int64_t>(rows.size()), "logits.rows", logits.rows, "the number of sampling rows");
  require(logits.row_stride >= logits.vocab_size, "logits.row_stride", logits.row_stride, "at least the vocabulary");
  require(rows.empty() || logits.data != nullptr, "logits.data", "null", "a pointer to the logits");
  require(wants.top_logprobs >= 0, "top_logprobs", wants.top_logprobs, ">= 0");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    validate(rows[r].params);
    const auto check = [&](TokenId token, const char* where) {
      if (token < 0 || token >= logits.vocab_size)
        throw InvalidArgument(
            fmt::format("row {}: token {} of the {} is not in [0, {})", r, token, where, logits.vocab_size));
    };
    for (const TokenId token : rows[r].history) check(token, "history");
    for (const LogitBias& bias : rows[r].bias) check(bias.token, "bias");
  }
}

Sampler::Sampler(const SampleKernels& kernels, ThreadPool& pool) : pool_(pool) {
  for (int thread = 0; thread < pool.threads(); ++thread) samplers_.emplace_back(kernels);
}

void Sampler::run(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& wants,
                  std::span<SampleResult> results) {
  const std::size_t element = logits.type == DType::f32 ? 4 : 2;
  pool_.parallel_for(static_cast<std::int64_t>(rows.size()), 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t r = begin; r < end; ++r) {
      const auto* row =
          static_cast<const std::byte*>(logits.data) + static_cast<std::size_t>(r * logits.row_stride) * element;
      const auto i = static_cast<std::size_t>(r);
      samplers_[static_cast<std::size_t>(thread)].run(row, logits.type, logits.vocab_size, rows[i], wants, results[i]);
    }
  });
}

}  // namespace cpu
}  // namespace warploom
