// The matmul op on the CPU: quantises the inputs if the weight is quantised, then spreads the weight's panels over the
// threads.
#pragma once

#include <vector>

#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

class Matmul {
 public:
  Matmul(const Kernels& kernels, ThreadPool& pool);
  void run(const MatmulArgs& args);

 private:
  struct Scratch {                        // of one thread, or shared
    std::vector<ActivationBlock> blocks;  // groups of 16 tokens, each [cols / 32]
    std::uint64_t call = 0;               // whose inputs the blocks hold
  };
  /// The inputs of a group of tokens that are in its blocks [begin, end).
  void quantise(Scratch& scratch, const MatmulArgs& args, std::int64_t group, std::int64_t begin, std::int64_t end);
  void quantise_shared(const MatmulArgs& args, std::int64_t groups);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Scratch> own_;  // [threads]
  Scratch shared_;
  std::uint64_t call_ = 0;
};

}  // namespace warploom::cpu
