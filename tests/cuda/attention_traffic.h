// Steps of attention as the emulator counts them, for tests and for attention_report.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "emulator/emulator.h"
#include "warploom/paged_attention_args.h"

namespace warploom::test {

struct Traffic {
  std::int64_t sequences, heads, kv_heads, head_dim;
  DType type = DType::f16;
  bool round_to_bf16 = false;
};
void PrintTo(const Traffic& t, std::ostream* out);  // GoogleTest's

struct Sequence {
  std::int64_t context, tokens;  // the last `tokens` of the context are the step's
};
using Batch = std::vector<Sequence>;

Batch crowd(std::int64_t sequences, std::int64_t context, std::int64_t tokens);

/// A step over zeros, of heads and caches as `t` has them: counters of the kernels whose names contain `kernels`. The counters and what is
/// modelled from them stay until the next call.
WarploomCounters count_attention(const Traffic& t, const Batch& batch, const char* kernels);

}  // namespace warploom::test
