// Finds a sequence's keys and values in its pages and copies sixteen at a time to shared memory.
#pragma once

#include "cuda/device/async_copy.cuh"
#include "cuda/toolkit/attention/warp_attention.cuh"

namespace warploom::cuda::device {

/// One kv head of one sequence, whose range must outlive this. Keys outside `range` are not read but filled with zeros.
template <class S, class Dim>
class Pages {
 public:
  __device__ Pages(const PagedAttentionArgs& a, int kv_head, const KeyRange& range)
      : keys_(static_cast<const char*>(a.cache.data) + a.cache.keys(a.layer, 0, kv_head) * S::kElementBytes),
        block_bytes_(static_cast<std::uint32_t>(a.cache.block_stride() * S::kElementBytes)),
        range_(range),
        head_dim_(Dim::of(a.cache)),
        shift_(a.cache.block_size == 8    ? 3
               : a.cache.block_size == 16 ? 4
                                          : 5) {}

  __device__ const KeyRange& range() const { return range_; }

  /// Reads the chunk's entries of the block table, one in each lane. copy_tile() may then copy keys of that chunk. All lanes
  /// of a warp must call it.
  __device__ void enter_chunk(const AttentionMetadata& m, int sequence, int chunk) {
    const int entries = kChunkKeys >> shift_, lane = threadIdx.x % 32, entry = chunk * entries + lane;
    const bool needed = lane < entries && entry >= range_.first >> shift_ && entry <= range_.last >> shift_;
    entry_ = needed ? m.block_tables[sequence * m.max_blocks_per_seq + entry] : 0;
  }

  /// Starts to copy 16 keys and their values. `key`, the first one, is a multiple of 16 in the entered chunk. This is thread
  /// `thread` of `threads`; all lanes of each warp must take part.
  __device__ void copy_tile(char* tile, int key, int thread, int threads) const {
    const int head_dim = Dim::kPlain ? Dim::kMax : head_dim_;
    const int vectors = head_dim * S::kElementBytes / 16, row_step = threads / vectors, column_step = threads % vectors;
    int row = thread / vectors, column = thread % vectors;
    for (int i = thread; i < kTileKeys * vectors; i += threads) {
      const int at = key + row, within = at & ((1 << shift_) - 1);
      const auto block = static_cast<std::uint32_t>(__shfl_sync(0xffffffffu, entry_, at % kChunkKeys >> shift_));
      const char* from = keys_ + std::uint64_t{block} * block_bytes_ + (within * head_dim * S::kElementBytes + 16 * column);
      const bool valid = at >= range_.first && at <= range_.last;
      copy_async_16(shared_address(tile + row * S::key_row_bytes(head_dim) + 16 * column), from, valid);
      copy_async_16(shared_address(tile + key_tile_bytes<S>(head_dim) + row * S::value_row_bytes(head_dim) + 16 * column),
                    from + block_bytes_ / 2, valid);
      row += row_step;
      column += column_step;
      if (column >= vectors) column -= vectors, ++row;
    }
  }

 private:
  const char* keys_;  // of block 0
  std::uint32_t block_bytes_;
  const KeyRange& range_;
  int head_dim_, shift_;
  std::int32_t entry_ = 0;
};

}  // namespace warploom::cuda::device
