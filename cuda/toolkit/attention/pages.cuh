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
    entry_ = entry_of_lane(m, sequence, chunk);
  }
  /// The same for chunks in order, of which the first one was passed to read_ahead(): reads the next one's entries too.
  __device__ void enter_next_chunk(const AttentionMetadata& m, int sequence, int chunk) {
    entry_ = next_entry_;
    read_ahead(m, sequence, chunk + 1);
  }
  __device__ void read_ahead(const AttentionMetadata& m, int sequence, int chunk) {
    next_entry_ = entry_of_lane(m, sequence, chunk);
  }

  /// Starts to copy 16 keys and their values. `key`, the first one, is a multiple of 16 in the entered chunk. This is thread
  /// `thread` of kThreads; all lanes of each warp must take part.
  template <int kThreads>
  __device__ void copy_tile(char* tile, int key, int thread) const {
    if constexpr (Dim::kPlain) {
      constexpr int kVectors = Dim::kMax * S::kElementBytes / 16, kRowStep = kThreads / kVectors;
      static_assert(kThreads % kVectors == 0 && kTileKeys % kRowStep == 0);
      const int first_row = thread / kVectors, column = thread % kVectors;
#pragma unroll
      for (int row = 0; row < kTileKeys; row += kRowStep) copy_vector(tile, key, first_row + row, column, Dim::kMax);
    } else {
      const int vectors = head_dim_ * S::kElementBytes / 16, row_step = kThreads / vectors, column_step = kThreads % vectors;
      int row = thread / vectors, column = thread % vectors;
      for (int i = thread; i < kTileKeys * vectors; i += kThreads) {
        copy_vector(tile, key, row, column, head_dim_);
        row += row_step;
        column += column_step;
        if (column >= vectors) column -= vectors, ++row;
      }
    }
  }

 private:
  __device__ std::uint32_t entry_of_lane(const AttentionMetadata& m, int sequence, int chunk) const {
    const int entries = kChunkKeys >> shift_, lane = threadIdx.x % 32, entry = chunk * entries + lane;
    const bool needed = lane < entries && entry >= range_.first >> shift_ && entry <= range_.last >> shift_;
    std::uint32_t block = 0;
    load_if(needed, reinterpret_cast<const std::uint32_t*>(m.block_tables) + (sequence * m.max_blocks_per_seq + entry),
            block);
    return block;
  }
  // 16 bytes of a row's keys and of its values.
  __device__ void copy_vector(char* tile, int key, int row, int column, int head_dim) const {
    const int at = key + row, within = at & ((1 << shift_) - 1), entry = ((key & (kChunkKeys - 1)) + row) >> shift_;
    const std::uint32_t block = __shfl_sync(0xffffffffu, entry_, entry);
    const char* from = keys_ + std::uint64_t{block} * block_bytes_ +
                       static_cast<std::uint32_t>(within * head_dim * S::kElementBytes + 16 * column);
    const bool valid = at >= range_.first && at <= range_.last;
    copy_async_16(shared_address(tile + row * S::key_row_bytes(head_dim) + 16 * column), from, valid);
    copy_async_16(shared_address(tile + key_tile_bytes<S>(head_dim) + row * S::value_row_bytes(head_dim) + 16 * column),
                  from + block_bytes_ / 2, valid);
  }

  const char* keys_;  // of block 0
  std::uint32_t block_bytes_;
  const KeyRange& range_;
  int head_dim_, shift_;
  std::uint32_t entry_ = 0, next_entry_ = 0;  // of a chunk in each lane: numbers of blocks
};

}  // namespace warploom::cuda::device
