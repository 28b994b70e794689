// The attention op on the CPU: divides the batch into tiles of queries that read the same keys and spreads them over the
// threads.
#pragma once

#include <vector>

#include "cpu/kernels.h"
#include "cpu/kv_cache.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

class Attention {
 public:
  Attention(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}
  void run(const PagedAttentionArgs& args);

 private:
  struct WorkItem {  // some tokens of one sequence, some query heads of one kv head
    std::int32_t token = 0;
    std::int32_t tokens = 0;
    std::int32_t kv_head = 0;
    std::int32_t head = 0;  // first query head
    std::int32_t heads = 0;
    std::int64_t first_chunk = 0;
    std::int64_t chunks = 0;
    std::int64_t partials = 0;  // index of its first partial result
  };
  struct Outputs;  // where the results of a work item go
  struct Queries;  // its queries, as the kernel takes them

  void list_work_items(const PagedAttentionArgs& args);
  static KeyBlocks keys_of(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk);
  // One thread computes the whole context. `next`: what it reads after it.
  void run_single_pass(const PagedAttentionArgs& args, const WorkItem& item, const KeyBlocks& next);
  // Threads share the contexts, as in Flash-Decoding; `chunks` is their number over all work items.
  void run_split_kv(const PagedAttentionArgs& args, std::int64_t chunks);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<WorkItem> work_items_;
  std::vector<std::int64_t> chunk_work_item_;  // the work item of each chunk
  std::vector<float> partial_max_, partial_sum_, partial_values_;
};

}  // namespace warploom::cpu
