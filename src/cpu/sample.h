// Batches of rows to tokens.
#pragma once

#include <span>
#include <vector>

#include "cpu/sample_row.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

/// Throws InvalidArgument naming what is out of range.
void check_rows(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& wants);

/// Spreads rows over the threads; each thread keeps its scratch.
class Sampler {
 public:
  Sampler(const SampleKernels& kernels, ThreadPool& pool);
  void run(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& wants,
           std::span<SampleResult> results);

 private:
  ThreadPool& pool_;
  std::vector<RowSampler> samplers_;  // one a thread
};

}  // namespace warploom::cpu
