// The matmul op on the CPU: quantises the inputs if the weight is quantised, then spreads the weight's panels, or many tokens, over
// the threads.
#pragma once

#include <atomic>
#include <cstdint>
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
  enum class Inputs : std::uint8_t { as_given, in_work, quantised };
  struct alignas(64) Share {  // of the tokens
    std::atomic<Inputs> inputs{Inputs::as_given};
  };
  struct Scratch {                        // of one thread, or shared
    std::vector<ActivationBlock> blocks;  // groups of 16 tokens, each [cols / 32]
    std::uint64_t call = 0;               // whose inputs the blocks hold
  };
  static void reserve(Scratch& scratch, std::size_t blocks);
  /// The inputs of tokens [first, first + count) that are in their rows' blocks [begin, end), into groups of 16 tokens.
  void quantise(const MatmulArgs& args, std::int64_t first, std::int64_t count, std::int64_t begin, std::int64_t end,
                ActivationBlock* blocks) const;
  void quantise_shared(const MatmulArgs& args, std::int64_t groups);

  void run_panels(const MatmulArgs& args);
  /// Each thread has its own tokens and reads all weights: what it computes of a token stays in its own caches from op to op.
  void run_tokens(const MatmulArgs& args);
  /// A share's tokens [first, first + count), quantised.
  const ActivationBlock* share_inputs(const MatmulArgs& args, int number, std::int64_t first, std::int64_t count);
  /// The panels [begin, end) with `tokens` tokens. `inputs`: if the weight is quantised, those of the tokens from `inputs_from` on; whole
  /// groups lie between the two.
  void multiply(const MatmulArgs& args, std::int64_t begin, std::int64_t end, const ActivationBlock* inputs,
                std::int64_t inputs_from, std::int64_t from_token, std::int64_t tokens);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Scratch> own_;  // [threads]
  Scratch shared_;
  std::vector<Share> shares_;  // [threads]
  std::uint64_t call_ = 0;
};

}  // namespace warploom::cpu
