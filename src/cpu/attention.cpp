#include "cpu/attention.h"

#include <algorithm>
#include <limits>

#include "core/divide.h"

namespace warploom::cpu {

struct Attention::Outputs {
  float* rows[kMaxQueries];
  int count = 0;

  Outputs(const PagedAttentionArgs& args, const WorkItem& item) {
    for (std::int32_t t = item.token; t < item.token + item.tokens; ++t)
      for (std::int32_t h = item.head; h < item.head + item.heads; ++h)
        rows[count++] = static_cast<float*>(args.out.data) + t * args.out.stride + h * args.cache.head_dim;
  }
};

struct Attention::Queries {
  alignas(64) float transposed[kMaxHeadDim * kMaxQueries];  // a load gets the same dimension of several queries
  std::int32_t positions[kMaxQueries];
  AttentionTile tile;

  Queries(const PagedAttentionArgs& args, const WorkItem& item) {
    const KvCacheView& kv = args.cache;
    int n = 0;
    for (std::int32_t t = item.token; t < item.token + item.tokens; ++t) {
      for (std::int32_t h = item.head; h < item.head + item.heads; ++h, ++n) {
        const float* query = static_cast<const float*>(args.queries.data) + t * args.queries.stride + h * kv.head_dim;
        for (std::int64_t d = 0; d < kv.head_dim; ++d) transposed[d * kMaxQueries + n] = query[d];
        positions[n] = args.metadata.positions[t];
      }
    }
    tile.queries = transposed;
    tile.positions = positions;
    tile.count = n;
    tile.window = args.window;
    tile.soft_cap = args.soft_cap;
    tile.head_dim = static_cast<int>(kv.head_dim);
    tile.scale = args.softmax_scale;
    const KeyBlocks keys = keys_of(args, item, 0);
    tile.blocks = keys.blocks;
    tile.cache = keys.cache;
    tile.block_stride = block_bytes(kv);
    tile.half = kv.type == DType::f16;
  }
};

namespace {

/// Where results are summed up. The kernels write whole vectors: if a head is no whole number of them, into memory of its own.
class Sums {
 public:
  Sums(float* const* out, int count, int head_dim) : out_(out), count_(count), head_dim_(head_dim) {
    for (int i = 0; i < count; ++i) rows_[i] = direct() ? out[i] : own_[i];
  }

  float* const* rows() const { return rows_; }
  void finish() const {
    if (direct()) return;
    for (int i = 0; i < count_; ++i) std::copy_n(own_[i], head_dim_, out_[i]);
  }

 private:
  bool direct() const { return head_dim_ % kKvBlockSize == 0; }

  float* const* out_;
  int count_, head_dim_;
  float* rows_[kMaxQueries];
  alignas(64) float own_[kMaxQueries][kMaxHeadDim];
};

/// Of each query, over the chunks so far.
struct RunningSoftmax {
  alignas(64) float max[kMaxQueries], sum[kMaxQueries] = {};
  RunningSoftmax() { std::fill_n(max, kMaxQueries, -std::numeric_limits<float>::infinity()); }
};

}  // namespace

// The keys of one chunk of an item.
KeyBlocks Attention::keys_of(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk) {
  constexpr std::int64_t kBlocks = kChunkTokens / kKvBlockSize;
  const std::int64_t end = args.metadata.positions[item.token + item.tokens - 1] / kKvBlockSize + 1;
  KeyBlocks keys;
  keys.cache = head_base(args.cache, args.layer, item.kv_head);
  keys.blocks = args.metadata.block_tables + args.metadata.token_to_seq[item.token] * args.metadata.max_blocks_per_seq +
                chunk * kBlocks;
  keys.count = static_cast<int>(std::clamp<std::int64_t>(end - chunk * kBlocks, 0, kBlocks));
  return keys;
}

void Attention::list_work_items(const PagedAttentionArgs& args) {
  const KvCacheView& kv = args.cache;
  const AttentionMetadata& metadata = args.metadata;
  const auto group = static_cast<std::int32_t>(args.num_heads / kv.num_kv_heads);
  const std::int32_t heads = std::min<std::int32_t>(group, kMaxQueries);
  const std::int32_t rows = kMaxQueries / heads;
  work_items_.clear();
  for (std::int32_t t = 0; t < metadata.num_tokens;) {
    if (metadata.positions[t] < 0) {
      std::fill_n(static_cast<float*>(args.out.data) + t * args.out.stride, args.num_heads * kv.head_dim, 0.0f);
      ++t;
      continue;
    }
    std::int32_t end = t + 1;
    while (end < metadata.num_tokens && end - t < rows && metadata.token_to_seq[end] == metadata.token_to_seq[t]) ++end;
    WorkItem item;
    item.token = t;
    item.tokens = end - t;
    const std::int64_t first_seen =
        args.window > 0 ? std::max<std::int64_t>(0, metadata.positions[t] - args.window + 1) : std::int64_t{0};
    item.first_chunk = first_seen / kChunkTokens;
    item.chunks = metadata.positions[end - 1] / kChunkTokens + 1 - item.first_chunk;
    for (item.kv_head = 0; item.kv_head < kv.num_kv_heads; ++item.kv_head) {
      for (std::int32_t h = 0; h < group; h += heads) {
        item.head = item.kv_head * group + h;
        item.heads = std::min(heads, group - h);
        work_items_.push_back(item);
      }
    }
    t = end;
  }
}

void Attention::run(const PagedAttentionArgs& args) {
  list_work_items(args);
  if (work_items_.empty()) return;
  std::int64_t chunks = 0, longest = 0;
  for (WorkItem& item : work_items_) {
    chunks += item.chunks;
    longest = std::max(longest, item.chunks);
  }
  const auto items = static_cast<std::int64_t>(work_items_.size());
  // A chunk of one query head takes about 2 head_dim kChunkTokens multiply-adds. A thread gets at least a few microseconds
  // of work at a time.
  constexpr std::int64_t kMinWork = 1 << 15;
  const std::int64_t item_work =
      chunks * 2 * args.num_heads / args.cache.num_kv_heads * args.cache.head_dim * kChunkTokens / (4 * items);
  const std::int64_t grain = std::max<std::int64_t>(1, kMinWork / std::max<std::int64_t>(1, item_work));
  // Threads share long contexts if there are few work items. Partial results merge in the same order as in a single pass.
  if (longest > 1 && items < 4 * pool_.threads() && pool_.threads() > 1) return run_split_kv(args, chunks);
  pool_.parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const WorkItem* item = &work_items_[static_cast<std::size_t>(i)];
      run_single_pass(args, *item, i + 1 < end ? keys_of(args, item[1], item[1].first_chunk) : KeyBlocks());
    }
  });
}

void Attention::run_single_pass(const PagedAttentionArgs& args, const WorkItem& item, const KeyBlocks& next) {
  Queries queries(args, item);
  const int head_dim = queries.tile.head_dim;
  RunningSoftmax total;
  alignas(64) float chunk_max[kMaxQueries] = {}, chunk_sum[kMaxQueries] = {}, chunk_values[kMaxQueries][kMaxHeadDim];
  float* values[kMaxQueries];
  for (int i = 0; i < queries.tile.count; ++i) values[i] = chunk_values[i];
  const Outputs outputs(args, item);
  Sums sums(outputs.rows, outputs.count, head_dim);
  const std::int64_t end = item.first_chunk + item.chunks;
  for (std::int64_t c = item.first_chunk; c < end; ++c) {
    queries.tile.next = c + 1 < end ? keys_of(args, item, c + 1) : next;
    kernels_.attend_chunk(queries.tile, c, chunk_max, chunk_sum, values);
    kernels_.merge_chunks(queries.tile.count, head_dim, chunk_max, chunk_sum, values, total.max, total.sum, sums.rows());
  }
  for (int i = 0; i < queries.tile.count; ++i) kernels_.scale_row(sums.rows()[i], total.sum[i], head_dim);
  sums.finish();
}

void Attention::run_split_kv(const PagedAttentionArgs& args, std::int64_t chunks) {
  const std::int64_t head_dim = args.cache.head_dim, width = align_up(head_dim, kKvBlockSize);
  chunk_work_item_.clear();
  std::int64_t partials = 0;
  for (std::size_t i = 0; i < work_items_.size(); ++i) {
    work_items_[i].partials = partials;
    partials += work_items_[i].chunks;
    chunk_work_item_.insert(chunk_work_item_.end(), static_cast<std::size_t>(work_items_[i].chunks),
                            static_cast<std::int64_t>(i));
  }
  const auto slots = static_cast<std::size_t>(chunks) * kMaxQueries;
  if (partial_max_.size() < slots) {
    partial_max_.resize(slots);
    partial_sum_.resize(slots);
  }
  if (partial_values_.size() < slots * static_cast<std::size_t>(width))
    partial_values_.resize(slots * static_cast<std::size_t>(width));

  pool_.parallel_for(chunks, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t c = begin; c < end; ++c) {
      const WorkItem& item = work_items_[static_cast<std::size_t>(chunk_work_item_[static_cast<std::size_t>(c)])];
      const Queries queries(args, item);
      float* values[kMaxQueries];
      for (int i = 0; i < queries.tile.count; ++i) values[i] = partial_values_.data() + (c * kMaxQueries + i) * width;
      kernels_.attend_chunk(queries.tile, item.first_chunk + c - item.partials, partial_max_.data() + c * kMaxQueries,
                            partial_sum_.data() + c * kMaxQueries, values);
    }
  });
  for (const WorkItem& item : work_items_) {
    const Outputs outputs(args, item);
    Sums sums(outputs.rows, outputs.count, static_cast<int>(head_dim));
    RunningSoftmax total;
    for (std::int64_t c = item.partials; c < item.partials + item.chunks; ++c) {
      const float* values[kMaxQueries];
      for (int i = 0; i < outputs.count; ++i) values[i] = partial_values_.data() + (c * kMaxQueries + i) * width;
      kernels_.merge_chunks(outputs.count, static_cast<int>(head_dim), partial_max_.data() + c * kMaxQueries,
                            partial_sum_.data() + c * kMaxQueries, values, total.max, total.sum, sums.rows());
    }
    for (int i = 0; i < outputs.count; ++i) kernels_.scale_row(sums.rows()[i], total.sum[i], static_cast<int>(head_dim));
    sums.finish();
  }
}

}  // namespace warploom::cpu
