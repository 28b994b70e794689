// The attention op on the CPU: cuts the step into tiles of queries that read the same keys and spreads those over the threads.
#pragma once

#include <vector>

#include "cpu/kernels.h"
#include "cpu/kv_cache.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

inline constexpr int kMaxHeadDim = 256;

class Attention {
 public:
  Attention(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}
  void run(const PagedAttentionArgs& args);

 private:
  struct Item {  // tokens of one sequence times query heads of one kv head
    std::int32_t token = 0;
    std::int32_t tokens = 0;
    std::int32_t kv_head = 0;
    std::int32_t head = 0;  // first query head
    std::int32_t heads = 0;
    std::int64_t first_chunk = 0;
    std::int64_t chunks = 0;
    std::int64_t partials = 0;  // where its partial results start
  };
  struct Queries;  // an item's pointers, ready for the kernel

  void list_items(const PagedAttentionArgs& args);
  void whole(const PagedAttentionArgs& args, const Item& item);
  void split(const PagedAttentionArgs& args, std::int64_t chunks);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Item> items_;
  std::vector<std::int64_t> chunk_item_;  // which item a flat chunk index belongs to
  std::vector<float> partial_max_, partial_sum_, partial_values_;
};

}  // namespace warploom::cpu
