// The attention op on the CPU: divides the batch into queries that read the same keys and spreads them over the threads.
#pragma once

#include <memory>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/kv_cache.h"
#include "cpu/thread_pool.h"

namespace warploom::cpu {

class Attention {
 public:
  Attention(const Kernels& kernels, ThreadPool& pool);
  ~Attention();
  void run(const PagedAttentionArgs& args);

 private:
  /// Queries of one sequence and one kv head. Query q is of the token q / group, and of the head q % group of those that share
  /// a kv head. Their tiles, of up to kMaxQueries queries, go through the context together.
  struct WorkItem {
    std::int64_t first = 0;
    std::int32_t count = 0;
    std::int32_t kv_head = 0;
    std::int32_t sequence = 0;
    std::int64_t first_chunk = 0;
    std::int64_t chunks = 0;
    std::int64_t partials = 0;  // index of its first partial result
  };
  struct Chunk {
    std::size_t item;
    std::int64_t chunk;  // of the context
  };
  struct Outputs;  // where the results of a tile go
  struct Queries;  // a tile's queries, as the kernel takes them
  struct Tile;
  struct Scratch;  // of one thread

  void list_work_items(const PagedAttentionArgs& args);
  static KvBlocks chunk_of(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk);
  static KvBlocks read_next(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk);
  // The blocks as f32, so that every tile of an item can do without conversions.
  KvBlocks widen(const KvCacheView& cache, const KvBlocks& blocks, Scratch& scratch) const;
  // One thread computes the whole context. `next`: what it reads after it.
  void run_single_pass(const PagedAttentionArgs& args, const WorkItem& item, const KvBlocks& next, Scratch& scratch);
  void list_chunks();
  // Threads share the contexts, as in Flash-Decoding. Work items are tiles; they have `chunks` chunks, and `rows` partial results.
  void run_split_kv(const PagedAttentionArgs& args, std::int64_t chunks, std::int64_t rows);
  void merge_partials(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t width);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<std::unique_ptr<Scratch>> scratch_;  // [threads]
  std::vector<WorkItem> work_items_;
  std::vector<Chunk> chunks_;
  std::uint64_t runs_ = 0;  // of run_split_kv()
  std::vector<float> partial_max_, partial_sum_, partial_values_;
};

}  // namespace warploom::cpu
