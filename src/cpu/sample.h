// Batches of rows to tokens.
#pragma once

#include <span>
#include <vector>

#include "cpu/sample_row.h"
#include "cpu/thread_pool.h"
#include "warploom/sample_args.h"

namespace warploom::cpu {

/// Throws InvalidArgument naming what is out of range.
void check_rows(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& outputs);

/// Spreads rows over the threads; each thread keeps its scratch memory. One call at a time.
class BatchSampler {
 public:
  BatchSampler(const SampleKernels& kernels, ThreadPool& pool);

  /// The arguments passed check_rows().
  void run(const LogitsView& logits, std::span<const SamplingInput> rows, const SampleOutputs& outputs,
           std::span<SampleResult> results);
  /// As Sampler::sample().
  void run(const SampleArgs& args);

 private:
  struct Scratch {  // of one thread
    explicit Scratch(const SampleKernels& kernels) : sampler(kernels) {}
    RowSampler sampler;
    SampleResult result;
  };
  void run_row(const SampleArgs& args, std::int64_t row, Scratch& scratch);

  ThreadPool& pool_;
  std::vector<Scratch> scratch_;
  std::vector<std::vector<TokenId>> kept_;  // of each row, until all are known
};

}  // namespace warploom::cpu
