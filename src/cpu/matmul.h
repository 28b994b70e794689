// The matmul op on the CPU: quantises inputs where the weight asks for it, then spreads the weight's panels over the
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
  struct Scratch {                     // a thread's own, or the shared one
    std::vector<InputRecord> records;  // groups of 8 tokens, each [cols / 32]
    std::uint64_t made_for = 0;        // the call whose inputs it holds
  };
  void quantise(Scratch& scratch, const MatmulArgs& args, std::int64_t begin, std::int64_t end);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Scratch> own_;  // one a thread
  Scratch shared_;
  std::uint64_t call_ = 0;
};

}  // namespace warploom::cpu
