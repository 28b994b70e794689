#include "cpu/attention.h"

#include <algorithm>
#include <limits>

namespace warploom::cpu {

struct Attention::Queries {
  const float* pointers[kMaxQueries];
  std::int32_t positions[kMaxQueries];
  float* out[kMaxQueries];
  AttentionTile tile;

  Queries(const PagedAttentionArgs& args, const Item& item) {
    const KvCacheView& kv = args.cache;
    int n = 0;
    for (std::int32_t t = item.token; t < item.token + item.tokens; ++t) {
      for (std::int32_t h = item.head; h < item.head + item.heads; ++h, ++n) {
        pointers[n] = static_cast<const float*>(args.queries.data) + t * args.queries.stride + h * kv.head_dim;
        positions[n] = args.metadata.positions[t];
        out[n] = static_cast<float*>(args.out.data) + t * args.out.stride + h * kv.head_dim;
      }
    }
    tile.queries = pointers;
    tile.positions = positions;
    tile.count = n;
    tile.window = args.window;
    tile.soft_cap = args.soft_cap;
    tile.head_dim = static_cast<int>(kv.head_dim);
    tile.scale = args.softmax_scale;
    tile.blocks = args.metadata.block_tables + args.metadata.token_to_seq[item.token] * args.metadata.max_blocks_per_seq;
    tile.cache = head_base(kv, args.layer, item.kv_head);
    tile.block_stride = block_bytes(kv);
    tile.half = kv.type == DType::f16;
  }
};

void Attention::list_items(const PagedAttentionArgs& args) {
  const KvCacheView& kv = args.cache;
  const AttentionMetadata& layout = args.metadata;
  const auto group = static_cast<std::int32_t>(args.num_heads / kv.num_kv_heads);
  const std::int32_t heads = std::min<std::int32_t>(group, kMaxQueries);
  const std::int32_t rows = kMaxQueries / heads;
  items_.clear();
  for (std::int32_t t = 0; t < layout.num_tokens;) {
    if (layout.positions[t] < 0) {
      std::fill_n(static_cast<float*>(args.out.data) + t * args.out.stride, args.num_heads * kv.head_dim, 0.0f);
      ++t;
      continue;
    }
    std::int32_t end = t + 1;
    while (end < layout.num_tokens && end - t < rows && layout.token_to_seq[end] == layout.token_to_seq[t]) ++end;
    Item item;
    item.token = t;
    item.tokens = end - t;
    const std::int64_t first_seen =
        args.window > 0 ? std::max<std::int64_t>(0, layout.positions[t] - args.window + 1) : std::int64_t{0};
    item.first_chunk = first_seen / kChunkTokens;
    item.chunks = layout.positions[end - 1] / kChunkTokens + 1 - item.first_chunk;
    for (item.kv_head = 0; item.kv_head < kv.num_kv_heads; ++item.kv_head) {
      for (std::int32_t h = 0; h < group; h += heads) {
        item.head = item.kv_head * group + h;
        item.heads = std::min(heads, group - h);
        items_.push_back(item);
      }
    }
    t = end;
  }
}

void Attention::run(const PagedAttentionArgs& args) {
  list_items(args);
  if (items_.empty()) return;
  std::int64_t chunks = 0, longest = 0;
  for (Item& item : items_) {
    chunks += item.chunks;
    longest = std::max(longest, item.chunks);
  }
  // Long contexts of few sequences are split between threads; the partial results then merge in the order in which whole()
  // would have merged them.
  const auto items = static_cast<std::int64_t>(items_.size());
  // A chunk of one query head takes some 2 head_dim kChunkTokens multiply-adds; a few microseconds' worth goes to a thread.
  constexpr std::int64_t kLeastWork = 1 << 15;
  const std::int64_t item_work =
      chunks * 2 * args.num_heads / args.cache.num_kv_heads * args.cache.head_dim * kChunkTokens / (4 * items);
  const std::int64_t grain = std::max<std::int64_t>(1, kLeastWork / std::max<std::int64_t>(1, item_work));
  if (longest > 1 && items < 4 * pool_.threads() && pool_.threads() > 1) return split(args, chunks);
  pool_.parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) whole(args, items_[static_cast<std::size_t>(i)]);
  });
}

void Attention::whole(const PagedAttentionArgs& args, const Item& item) {
  const Queries queries(args, item);
  const int head_dim = queries.tile.head_dim;
  float max[kMaxQueries], sum[kMaxQueries], chunk_max[kMaxQueries], chunk_sum[kMaxQueries];
  alignas(64) float chunk_values[kMaxQueries][kMaxHeadDim];
  float* values[kMaxQueries];
  for (int i = 0; i < queries.tile.count; ++i) {
    max[i] = -std::numeric_limits<float>::infinity();
    sum[i] = 0.0f;
    values[i] = chunk_values[i];
  }
  for (std::int64_t c = item.first_chunk; c < item.first_chunk + item.chunks; ++c) {
    kernels_.attend_chunk(queries.tile, c, chunk_max, chunk_sum, values);
    for (int i = 0; i < queries.tile.count; ++i)
      kernels_.merge_chunk(&max[i], &sum[i], queries.out[i], chunk_max[i], chunk_sum[i], chunk_values[i], head_dim);
  }
  for (int i = 0; i < queries.tile.count; ++i) kernels_.scale_row(queries.out[i], sum[i], head_dim);
}

void Attention::split(const PagedAttentionArgs& args, std::int64_t chunks) {
  const std::int64_t head_dim = args.cache.head_dim;
  chunk_item_.clear();
  std::int64_t partials = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    items_[i].partials = partials;
    partials += items_[i].chunks;
    chunk_item_.insert(chunk_item_.end(), static_cast<std::size_t>(items_[i].chunks), static_cast<std::int64_t>(i));
  }
  const auto slots = static_cast<std::size_t>(chunks) * kMaxQueries;
  if (partial_max_.size() < slots) {
    partial_max_.resize(slots);
    partial_sum_.resize(slots);
  }
  if (partial_values_.size() < slots * static_cast<std::size_t>(head_dim))
    partial_values_.resize(slots * static_cast<std::size_t>(head_dim));

  pool_.parallel_for(chunks, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t c = begin; c < end; ++c) {
      const Item& item = items_[static_cast<std::size_t>(chunk_item_[static_cast<std::size_t>(c)])];
      const Queries queries(args, item);
      float* values[kMaxQueries];
      for (int i = 0; i < queries.tile.count; ++i) values[i] = partial_values_.data() + (c * kMaxQueries + i) * head_dim;
      kernels_.attend_chunk(queries.tile, item.first_chunk + c - item.partials, partial_max_.data() + c * kMaxQueries,
                            partial_sum_.data() + c * kMaxQueries, values);
    }
  });
  for (const Item& item : items_) {
    const Queries queries(args, item);
    for (int i = 0; i < queries.tile.count; ++i) {
      float max = -std::numeric_limits<float>::infinity(), sum = 0.0f;
      for (std::int64_t c = item.partials; c < item.partials + item.chunks; ++c) {
        const std::int64_t slot = c * kMaxQueries + i;
        kernels_.merge_chunk(&max, &sum, queries.out[i], partial_max_[static_cast<std::size_t>(slot)],
                             partial_sum_[static_cast<std::size_t>(slot)], partial_values_.data() + slot * head_dim,
                             static_cast<int>(head_dim));
      }
      kernels_.scale_row(queries.out[i], sum, static_cast<int>(head_dim));
    }
  }
}

}  // namespace warploom::cpu
