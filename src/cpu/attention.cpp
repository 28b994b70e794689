#include "cpu/attention.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "core/divide.h"
#include "cpu/isa.h"
#include "cpu/token_shares.h"

namespace warploom::cpu {

namespace {

constexpr int kMaxTiles = 8;  // of a work item
// As many if each chunk is widened once for all of them. Otherwise shorter items keep threads busy to the end.
constexpr int max_tiles(DType type) { return type == DType::f16 ? kMaxTiles : 4; }
constexpr std::int64_t kMinWork = 1 << 15;  // a few microseconds of multiply-adds: a thread gets no less at a time
constexpr int kChunkBlocks = kChunkTokens / static_cast<int>(kKvBlockSize);

std::int64_t group_of(const PagedAttentionArgs& args) { return args.num_heads / args.cache.num_kv_heads; }

std::int64_t first_chunk_of(const PagedAttentionArgs& args, std::int64_t position) {
  return args.window > 0 ? std::max<std::int64_t>(0, position - args.window + 1) / kChunkTokens : 0;
}

}  // namespace

struct Attention::Outputs {
  float* rows[kMaxQueries];
  int count = 0;

  Outputs(const PagedAttentionArgs& args, std::int64_t first, int number, std::int64_t kv_head) : count(number) {
    const std::int64_t group = group_of(args);
    for (int n = 0; n < count; ++n)
      rows[n] = static_cast<float*>(args.out.data) + (first + n) / group * args.out.stride +
                (kv_head * group + (first + n) % group) * args.cache.head_dim;
  }
};

struct Attention::Queries {
  static_assert(kQueryStride == kMaxHeadDim);
  alignas(64) float rows[kMaxQueries][kQueryStride];
  Int8Head int8_rows[kMaxQueries];
  std::int32_t positions[kMaxQueries];
  AttentionTile tile;

  Queries(const Kernels& kernels, const PagedAttentionArgs& args, std::int64_t first, int count, std::int64_t kv_head) {
    const std::int64_t head_dim = args.cache.head_dim, group = group_of(args);
    for (int n = 0; n < count; ++n) {
      const std::int64_t token = (first + n) / group, head = kv_head * group + (first + n) % group;
      const float* query = static_cast<const float*>(args.queries.data) + token * args.queries.stride + head * head_dim;
      if (args.cache.type == DType::int8) {
        kernels.quantise_head(query, head_dim, kInt8Group, &int8_rows[n]);
        for (std::int64_t g = 0; g * kInt8Group < head_dim; ++g) int8_rows[n].scales[g] *= args.softmax_scale;
      } else if (args.cache.type == DType::bf16) {
        kernels.round_bf16_row(query, head_dim, rows[n]);
      } else {
        std::copy_n(query, head_dim, rows[n]);
      }
      positions[n] = args.metadata.positions[token];
    }
    tile.queries = rows[0];
    tile.positions = positions;
    tile.count = count;
    tile.window = args.window;
    tile.soft_cap = args.soft_cap;
    tile.head_dim = static_cast<int>(head_dim);
    tile.scale = args.softmax_scale;
    tile.type = args.cache.type;
    tile.int8_queries = int8_rows;
    tile.int8 = int8_block(head_dim);
    tile.fetch = fetch_of_kv();
  }
};

namespace {

/// Where results are summed up: in their places, or, if a head is no whole number of vectors, in memory of its own, since the
/// kernels write whole vectors.
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

/// The maximum and the sum of each query over the chunks so far.
struct RunningSoftmax {
  alignas(64) float max[kMaxQueries], sum[kMaxQueries] = {};
  RunningSoftmax() { std::fill_n(max, kMaxQueries, -std::numeric_limits<float>::infinity()); }
};

}  // namespace

struct Attention::Tile {
  Queries queries;
  Outputs outputs;
  Sums sums;
  RunningSoftmax total;
  std::int64_t first_chunk, last_chunk;

  Tile(const Kernels& kernels, const PagedAttentionArgs& args, std::int64_t first, int count, std::int64_t kv_head)
      : queries(kernels, args, first, count, kv_head),
        outputs(args, first, count, kv_head),
        sums(outputs.rows, count, static_cast<int>(args.cache.head_dim)),
        first_chunk(first_chunk_of(args, queries.positions[0])),
        last_chunk(queries.positions[count - 1] / kChunkTokens) {}
};

struct Attention::Scratch {
  struct alignas(64) Line {
    float lanes[kKvBlockSize];
  };
  struct Prepared {
    std::uint64_t run = 0;
    std::size_t item = 0;
    std::optional<Queries> queries;
  };

  std::optional<Tile> tiles[kMaxTiles];
  std::vector<Line> wide;  // a chunk as f32
  // Of up to 16 items that share contexts. Each thread prepares its own: another core's would take longer to fetch.
  Prepared prepared[16];

  const AttentionTile& tile_of(const Attention& attention, const PagedAttentionArgs& args, std::size_t item) {
    Prepared& slot = prepared[item % std::size(prepared)];
    if (slot.run != attention.runs_ || slot.item != item) {
      const WorkItem& work = attention.work_items_[item];
      slot.queries.emplace(attention.kernels_, args, work.first, work.count, work.kv_head);
      slot.run = attention.runs_;
      slot.item = item;
    }
    return slot.queries->tile;
  }
};

Attention::Attention(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {
  for (int i = 0; i < pool.threads(); ++i) scratch_.push_back(std::make_unique<Scratch>());
}
Attention::~Attention() = default;

KvBlocks Attention::chunk_of(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk) {
  const std::int64_t group = group_of(args), token = item.first / group, last = (item.first + item.count - 1) / group;
  const std::int64_t end = args.metadata.positions[last] / kKvBlockSize + 1;
  KvBlocks blocks;
  blocks.cache = head_base(args.cache, args.layer, item.kv_head);
  blocks.stride = block_bytes(args.cache);
  blocks.ids = args.metadata.block_tables + args.metadata.token_to_seq[token] * args.metadata.max_blocks_per_seq +
               chunk * kChunkBlocks;
  blocks.count = static_cast<int>(std::clamp<std::int64_t>(end - chunk * kChunkBlocks, 0, kChunkBlocks));
  blocks.bytes = static_cast<int>(kKvBlockSize * kv_bytes_of(args.cache.type, args.cache.head_dim));
  return blocks;
}

// The kernel fetches a chunk's values itself while it reads the keys.
KvBlocks Attention::read_next(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t chunk) {
  KvBlocks blocks = chunk_of(args, item, chunk);
  if (item.count <= kMaxQueries)
    blocks.bytes = args.cache.type == DType::int8 ? int8_block(args.cache.head_dim).values : blocks.bytes / 2;
  return blocks;
}

KvBlocks Attention::widen(const KvCacheView& cache, const KvBlocks& blocks, Scratch& scratch) const {
  static constexpr std::int32_t kInOrder[kChunkBlocks] = {0, 1, 2, 3, 4, 5, 6, 7};
  const std::int64_t floats = 2 * cache.head_dim * kKvBlockSize, lines = floats / kKvBlockSize;
  // One line more: the kernel reads whole vectors, also at the end of the last row.
  const auto needed = static_cast<std::size_t>(kChunkBlocks * lines + 1);
  if (scratch.wide.size() < needed) scratch.wide.resize(needed);
  for (int b = 0; b < blocks.count; ++b) {
    const std::byte* block = blocks.cache + static_cast<std::size_t>(blocks.ids[b]) * blocks.stride;
    kernels_.sample.widen(reinterpret_cast<const std::uint16_t*>(block), floats, false,
                          scratch.wide[static_cast<std::size_t>(b * lines)].lanes);
  }
  KvBlocks wide = blocks;
  wide.cache = reinterpret_cast<const std::byte*>(scratch.wide.data());
  wide.stride = static_cast<std::size_t>(floats) * sizeof(float);
  wide.ids = kInOrder;
  return wide;
}

// In the order of tokens: threads that have tokens of their own find the queries, keys and values of most items in their own caches.
void Attention::list_work_items(const PagedAttentionArgs& args) {
  const KvCacheView& kv = args.cache;
  const AttentionMetadata& metadata = args.metadata;
  const std::int64_t group = group_of(args);
  // Several items for each thread, because other programs slow down some of the threads.
  const std::int64_t tiles = metadata.num_tokens * args.num_heads / kMaxQueries / (8 * pool_.threads());
  const std::int64_t most = kMaxQueries * std::clamp<std::int64_t>(tiles, 1, max_tiles(kv.type));
  work_items_.clear();
  for (std::int32_t t = 0; t < metadata.num_tokens;) {
    if (metadata.positions[t] < 0) {
      std::fill_n(static_cast<float*>(args.out.data) + t * args.out.stride, args.num_heads * kv.head_dim, 0.0f);
      ++t;
      continue;
    }
    std::int32_t end = t + 1;
    while (end < metadata.num_tokens && metadata.positions[end] >= 0 &&
           metadata.token_to_seq[end] == metadata.token_to_seq[t])
      ++end;
    WorkItem item;
    item.sequence = metadata.token_to_seq[t];
    for (item.first = t * group; item.first < end * group; item.first += most) {
      item.count = static_cast<std::int32_t>(std::min(most, end * group - item.first));
      item.first_chunk = first_chunk_of(args, metadata.positions[item.first / group]);
      item.chunks = metadata.positions[(item.first + item.count - 1) / group] / kChunkTokens + 1 - item.first_chunk;
      for (item.kv_head = 0; item.kv_head < kv.num_kv_heads; ++item.kv_head) work_items_.push_back(item);
    }
    t = end;
  }
}

void Attention::run(const PagedAttentionArgs& args) {
  list_work_items(args);
  if (work_items_.empty()) return;
  std::int64_t chunks = 0, longest = 0, rows = 0;
  std::int32_t widest = 0;
  for (const WorkItem& item : work_items_) {
    chunks += item.chunks;
    longest = std::max(longest, item.chunks);
    widest = std::max(widest, item.count);
    rows += item.chunks * item.count;
  }
  const auto items = static_cast<std::int64_t>(work_items_.size());
  // A chunk of one query takes about 2 head_dim kChunkTokens multiply-adds.
  const std::int64_t item_work = rows * 2 * args.cache.head_dim * kChunkTokens / (4 * items);
  const std::int64_t grain = std::max<std::int64_t>(1, kMinWork / std::max<std::int64_t>(1, item_work));
  // Threads share long contexts if there are few work items. Partial results merge in the same order as in a single pass.
  if (longest > 1 && widest <= kMaxQueries && items < 4 * pool_.threads() && pool_.threads() > 1)
    return run_split_kv(args, chunks, rows);
  const bool shares = shares_tokens(pool_, args.metadata.num_tokens);
  const auto run_items = [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t following = i + 1 < end || shares ? i + 1 : pool_.likely_next(end, grain, grain, thread);
      KvBlocks next;
      if (following < items) {
        const WorkItem& item = work_items_[static_cast<std::size_t>(following)];
        next = read_next(args, item, item.first_chunk);
      }
      run_single_pass(args, work_items_[static_cast<std::size_t>(i)], next, *scratch_[static_cast<std::size_t>(thread)]);
    }
  };
  shares ? pool_.parallel_for_shares(items, grain, grain, run_items) : pool_.parallel_for(items, grain, run_items);
}

void Attention::run_single_pass(const PagedAttentionArgs& args, const WorkItem& item, const KvBlocks& next,
                                Scratch& scratch) {
  const int head_dim = static_cast<int>(args.cache.head_dim), tiles = ceil_div(item.count, kMaxQueries);
  for (int i = 0; i < tiles; ++i) {
    const int from = i * kMaxQueries;
    scratch.tiles[i].emplace(kernels_, args, item.first + from, std::min(kMaxQueries, item.count - from), item.kv_head);
  }
  const bool wide = tiles > 1 && args.cache.type == DType::f16;
  alignas(64) float chunk_max[kMaxQueries] = {}, chunk_sum[kMaxQueries] = {}, chunk_values[kMaxQueries][kMaxHeadDim];
  float* values[kMaxQueries];
  for (int i = 0; i < kMaxQueries; ++i) values[i] = chunk_values[i];
  const std::int64_t end = item.first_chunk + item.chunks;
  for (std::int64_t c = item.first_chunk; c < end; ++c) {
    const KvBlocks stored = chunk_of(args, item, c), blocks = wide ? widen(args.cache, stored, scratch) : stored;
    for (int i = 0; i < tiles; ++i) {
      Tile& tile = *scratch.tiles[i];
      if (c < tile.first_chunk || c > tile.last_chunk) continue;
      AttentionTile& queries = tile.queries.tile;
      queries.kv = blocks;
      if (wide) queries.type = DType::f32;
      queries.next = i + 1 < tiles ? KvBlocks() : c + 1 < end ? read_next(args, item, c + 1) : next;
      kernels_.attend_chunk(queries, c, chunk_max, chunk_sum, values);
      kernels_.merge_chunks(queries.count, head_dim, chunk_max, chunk_sum, values, tile.total.max, tile.total.sum,
                            tile.sums.rows());
    }
  }
  for (int i = 0; i < tiles; ++i) {
    const Tile& tile = *scratch.tiles[i];
    for (int q = 0; q < tile.outputs.count; ++q) kernels_.scale_row(tile.sums.rows()[q], tile.total.sum[q], head_dim);
    tile.sums.finish();
  }
}

// The heads of a chunk follow one another, as they do in memory.
void Attention::list_chunks() {
  chunks_.clear();
  std::int64_t partials = 0;
  for (std::size_t i = 0, end; i < work_items_.size(); i = end) {
    std::int64_t first = work_items_[i].first_chunk, last = first;
    for (end = i; end < work_items_.size() && work_items_[end].sequence == work_items_[i].sequence; ++end) {
      WorkItem& item = work_items_[end];
      item.partials = partials;
      partials += item.chunks;
      last = std::max(last, item.first_chunk + item.chunks);
    }
    for (std::int64_t chunk = first; chunk < last; ++chunk)
      for (std::size_t j = i; j < end; ++j)
        if (chunk >= work_items_[j].first_chunk && chunk < work_items_[j].first_chunk + work_items_[j].chunks)
          chunks_.push_back({j, chunk});
  }
}

void Attention::run_split_kv(const PagedAttentionArgs& args, std::int64_t chunks, std::int64_t rows) {
  const std::int64_t head_dim = args.cache.head_dim, width = align_up(head_dim, kKvBlockSize);
  const auto items = static_cast<std::int64_t>(work_items_.size());
  list_chunks();
  const auto slots = static_cast<std::size_t>(chunks) * kMaxQueries;
  if (partial_max_.size() < slots) {
    partial_max_.resize(slots);
    partial_sum_.resize(slots);
  }
  if (partial_values_.size() < slots * static_cast<std::size_t>(width))
    partial_values_.resize(slots * static_cast<std::size_t>(width));
  ++runs_;

  // Each chunk is fetched while the one before it is read.
  const std::int64_t head = std::max<std::int64_t>(1, pool_.head_of(chunks));
  pool_.parallel_for(chunks, head, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t c = begin; c < end; ++c) {
      const auto& [number, chunk] = chunks_[static_cast<std::size_t>(c)];
      const WorkItem& item = work_items_[number];
      AttentionTile tile = scratch_[static_cast<std::size_t>(thread)]->tile_of(*this, args, number);
      tile.kv = chunk_of(args, item, chunk);
      const std::int64_t following = c + 1 < end ? c + 1 : pool_.likely_next(end, head, 1, thread);
      if (following < chunks) {
        const Chunk& next = chunks_[static_cast<std::size_t>(following)];
        tile.next = read_next(args, work_items_[next.item], next.chunk);
      }
      const std::int64_t slot = (item.partials + chunk - item.first_chunk) * kMaxQueries;
      float* values[kMaxQueries];
      for (int i = 0; i < tile.count; ++i) values[i] = partial_values_.data() + (slot + i) * width;
      kernels_.attend_chunk(tile, chunk, partial_max_.data() + slot, partial_sum_.data() + slot, values);
    }
  });
  const std::int64_t merge_work = rows * width / items, grain = std::max<std::int64_t>(1, kMinWork / merge_work);
  pool_.parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) merge_partials(args, work_items_[static_cast<std::size_t>(i)], width);
  });
}

void Attention::merge_partials(const PagedAttentionArgs& args, const WorkItem& item, std::int64_t width) {
  const int head_dim = static_cast<int>(args.cache.head_dim);
  const Outputs outputs(args, item.first, item.count, item.kv_head);
  Sums sums(outputs.rows, outputs.count, head_dim);
  RunningSoftmax total;
  for (std::int64_t c = item.partials; c < item.partials + item.chunks; ++c) {
    const float* values[kMaxQueries];
    for (int i = 0; i < outputs.count; ++i) values[i] = partial_values_.data() + (c * kMaxQueries + i) * width;
    kernels_.merge_chunks(outputs.count, head_dim, partial_max_.data() + c * kMaxQueries,
                          partial_sum_.data() + c * kMaxQueries, values, total.max, total.sum, sums.rows());
  }
  for (int i = 0; i < outputs.count; ++i) kernels_.scale_row(sums.rows()[i], total.sum[i], head_dim);
  sums.finish();
}

}  // namespace warploom::cpu
