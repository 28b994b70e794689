// Which ops give each thread the same tokens: what a thread computed of them is then in its own caches in the next op.
#pragma once

#include <cstdint>

#include "cpu/packed.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

/// If products do, each thread reads all weights: with many threads that takes more tokens for each.
inline bool shares_tokens(const ThreadPool& pool, std::int64_t tokens) {
  constexpr std::int64_t kEnough = 8;  // times the threads, for each of them
  const std::int64_t threads = pool.threads();
  return threads > 1 && tokens >= kEnough * threads * threads;
}

/// Calls body(begin, end) for tokens.
template <typename Body>
void for_tokens(ThreadPool& pool, std::int64_t tokens, std::int64_t grain, const Body& body) {
  const auto call = [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); };
  shares_tokens(pool, tokens) ? pool.parallel_for_shares(tokens, kTokenGroup, grain, call)
                              : pool.parallel_for(tokens, grain, call);
}

}  // namespace warploom::cpu
