// Which ops give each thread the same tokens: what a thread computed of them is then in its own caches in the next op.
#pragma once

#include <algorithm>

#include "core/divide.h"
#include "cpu/packed.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

/// If products do, each thread reads all weights, which takes enough tokens for each of them.
inline bool shares_tokens(const ThreadPool& pool, std::int64_t tokens) {
  const std::int64_t threads = pool.threads();
  return threads > 1 && tokens >= std::max(8 * threads, std::int64_t{kTokenGroup}) * threads;
}

/// Calls body(begin, end) for tokens.
template <typename Body>
void for_tokens(ThreadPool& pool, std::int64_t tokens, std::int64_t grain, const Body& body) {
  if (!shares_tokens(pool, tokens)) {
    pool.parallel_for(tokens, grain, [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); });
  } else {
    pool.parallel_for_shares(
        ceil_div<std::int64_t>(tokens, kTokenGroup), 1, 1,
        [&](std::int64_t begin, std::int64_t end, int) { body(begin * kTokenGroup, std::min(end * kTokenGroup, tokens)); });
  }
}

}  // namespace warploom::cpu
