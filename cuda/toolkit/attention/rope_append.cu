// Rotates queries in place; rotates keys and stores them with the values at their tokens' places in the KV cache.
//
// Shapes:   queries [tokens, heads, head_dim]; keys, values [tokens, kv_heads, head_dim]; frequencies [rope_dims / 2].
// Layout:   a block takes one to eight tokens, so that it has some 1024 items: four neighbouring elements, or two times
//           four where pairs lie rope_dims / 2 apart. Sines and cosines are made once a block, in shared memory.
// Bytes:    queries read and written (their leading rope_dims), keys and values read and stored, each once; beside them
//           12 bytes a token of positions and tables, and the frequencies once a block.
// Launch:   256 threads; tokens / (tokens a block) blocks.
// Limits:   rope_dims not a multiple of 8: element by element.
// Capture:  yes, one kernel.
// Numerics: angle = position * frequency, reduced to half a turn, in double; sine and cosine of that in f32; rotation
//           in f32. Stores round to nearest even; f16 saturates.
// Source:   Su et al., "RoFormer", arXiv:2104.09864.
// History:  two tokens a block asked for 1.023x the bytes of a small model, mostly for frequencies: now four.
#include <algorithm>

#include "cuda/device/dependent_launch.cuh"
#include "cuda/device/element.cuh"
#include "cuda/toolkit/attention/kv_cache_args.h"
#include "cuda/toolkit/attention/launch.h"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kThreads = 256;
constexpr int kMaxTokens = 8;   // a block
constexpr int kItems = 1024;    // a block, about
constexpr int kMaxPairs = 128;  // of a head

// How one head's elements are cut into items: first those that rotate, then the others.
struct Cut {
  int width;    // elements of an item, 4 or 1; of each half, where pairs lie apart
  int rotated;  // items that rotate
  int rest;     // items that don't

  __host__ __device__ Cut(const RopeAppendArgs& a) {
    width = a.rope.dims % 8 == 0 ? 4 : 1;
    const int elements = width == 4 && a.rope.interleaved ? 4 : 2 * width;
    rotated = static_cast<int>(a.rope.dims) / elements;
    rest = static_cast<int>(a.cache.head_dim - a.rope.dims) / width;
  }
  __host__ __device__ int query_items(const RopeAppendArgs& a) const { return static_cast<int>(a.num_heads) * rotated; }
  __host__ __device__ int key_items(const RopeAppendArgs& a) const {
    return static_cast<int>(a.cache.num_kv_heads) * (rotated + rest);
  }
  __host__ __device__ int value_items(const RopeAppendArgs& a) const {
    return static_cast<int>(a.cache.num_kv_heads * a.cache.head_dim / 4);
  }
  __host__ __device__ int items(const RopeAppendArgs& a) const { return query_items(a) + key_items(a) + value_items(a); }
};

struct Place {                // of a block's token
  std::int64_t keys, values;  // elements of the cache, of head 0; negative: a padding token
};

__device__ float2 rotate(float2 x, float2 turn) { return {x.x * turn.x - x.y * turn.y, x.x * turn.y + x.y * turn.x}; }

// From one place to another, which may be the same.
struct Move {
  const void* from;
  DType from_type;
  std::int64_t from_at;
  void* to;
  DType to_type;
  std::int64_t to_at;

  __device__ void copy(int width) const {
    if (width == 4)
      store_four(to, to_type, to_at, load_four(from, from_type, from_at));
    else
      store_element(to, to_type, to_at, load_element(from, from_type, from_at));
  }
  // Item `i` of a head whose first element is at from_at.
  __device__ void turn(const RopeAppendArgs& a, const Cut& cut, int i, const float2* turns) const {
    const int half = static_cast<int>(a.rope.dims) / 2;
    if (cut.width == 1) {
      const int first = a.rope.interleaved ? 2 * i : i, second = a.rope.interleaved ? 2 * i + 1 : i + half;
      const float2 x{load_element(from, from_type, from_at + first), load_element(from, from_type, from_at + second)};
      const float2 y = rotate(x, turns[i]);
      store_element(to, to_type, to_at + first, y.x);
      store_element(to, to_type, to_at + second, y.y);
    } else if (a.rope.interleaved) {
      const float4 x = load_four(from, from_type, from_at + 4 * i);
      const float2 low = rotate({x.x, x.y}, turns[2 * i]), high = rotate({x.z, x.w}, turns[2 * i + 1]);
      store_four(to, to_type, to_at + 4 * i, {low.x, low.y, high.x, high.y});
    } else {
      const float4 x = load_four(from, from_type, from_at + 4 * i), y = load_four(from, from_type, from_at + half + 4 * i);
      const float2 p = rotate({x.x, y.x}, turns[4 * i]), q = rotate({x.y, y.y}, turns[4 * i + 1]),
                   r = rotate({x.z, y.z}, turns[4 * i + 2]), s = rotate({x.w, y.w}, turns[4 * i + 3]);
      store_four(to, to_type, to_at + 4 * i, {p.x, q.x, r.x, s.x});
      store_four(to, to_type, to_at + half + 4 * i, {p.y, q.y, r.y, s.y});
    }
  }
};

__device__ void move_item(const RopeAppendArgs& a, const Cut& cut, std::int64_t token, const Place& place, int item,
                          const float2* turns) {
  const int head_dim = static_cast<int>(a.cache.head_dim), per_head = static_cast<int>(a.cache.block_size) * head_dim;
  if (item < cut.query_items(a)) {
    const int head = item / cut.rotated;
    const std::int64_t at = token * a.queries.stride + std::int64_t{head} * head_dim;
    Move{a.queries.data, a.queries.type, at, a.queries.data, a.queries.type, at}.turn(a, cut, item % cut.rotated, turns);
    return;
  }
  item -= cut.query_items(a);
  if (item < cut.key_items(a)) {
    const int head = item / (cut.rotated + cut.rest), i = item % (cut.rotated + cut.rest);
    Move move{a.keys.data,  a.keys.type,  token * a.keys.stride + std::int64_t{head} * head_dim,
              a.cache.data, a.cache.type, place.keys + std::int64_t{head} * per_head};
    if (i < cut.rotated) {
      move.turn(a, cut, i, turns);
    } else {
      const std::int64_t offset = a.rope.dims + (i - cut.rotated) * cut.width;
      move.from_at += offset;
      move.to_at += offset;
      move.copy(cut.width);
    }
    return;
  }
  item -= cut.key_items(a);
  const int head = item / (head_dim / 4), i = item % (head_dim / 4);
  Move{a.values.data, a.values.type, token * a.values.stride + std::int64_t{head} * head_dim + 4 * i,
       a.cache.data,  a.cache.type,  place.values + std::int64_t{head} * per_head + 4 * i}
      .copy(4);
}

__global__ void __launch_bounds__(kThreads)
    rope_append_kernel(const __grid_constant__ RopeAppendArgs a, const __grid_constant__ int tokens_a_block) {
  __shared__ float2 turns[kMaxTokens * kMaxPairs];  // cosine and sine, times mscale
  __shared__ int positions[kMaxTokens];
  __shared__ Place places[kMaxTokens];
  const std::int64_t first = std::int64_t{blockIdx.x} * tokens_a_block;
  const int tokens = static_cast<int>(min(std::int64_t{tokens_a_block}, a.metadata.num_tokens - first));
  if (static_cast<int>(threadIdx.x) < tokens) {
    const std::int64_t token = first + threadIdx.x;
    const std::int32_t position = a.metadata.positions[token];
    positions[threadIdx.x] = position;
    Place place{-1, -1};
    if (position >= 0) {
      const std::int64_t entry =
          a.metadata.token_to_seq[token] * a.metadata.max_blocks_per_seq + position / a.cache.block_size;
      const std::int64_t block = a.metadata.block_tables[entry], within = position % a.cache.block_size * a.cache.head_dim;
      place = {a.cache.keys(a.layer, block, 0) + within, a.cache.values(a.layer, block, 0) + within};
    }
    places[threadIdx.x] = place;
  }
  __syncthreads();  // positions and places are there
  const int pairs = static_cast<int>(a.rope.dims) / 2;
  for (int pair = threadIdx.x; pair < pairs; pair += kThreads) {
    const double frequency = a.rope.frequencies[pair];
    for (int t = 0; t < tokens; ++t) {
      const double half_turns = positions[t] * frequency * (1.0 / 3.14159265358979323846);
      float sine, cosine;
      sincospif(static_cast<float>(half_turns - 2.0 * rint(0.5 * half_turns)), &sine, &cosine);
      turns[t * pairs + pair] = {cosine * a.rope.mscale, sine * a.rope.mscale};
    }
  }
  wait_for_launch_ahead();  // up to here only the step's input is read
  allow_next_launch();
  __syncthreads();  // so are the turns
  const Cut cut(a);
  const int items = cut.items(a);
  for (int i = threadIdx.x; i < tokens * items; i += kThreads) {
    const int t = i / items;
    if (places[t].keys >= 0) move_item(a, cut, first + t, places[t], i % items, turns + t * pairs);
  }
}

}  // namespace

void rope_append(const RopeAppendArgs& args, cudaStream_t stream) { rope_append(args, LaunchStream(stream)); }
void rope_append(const RopeAppendArgs& args, const LaunchStream& stream) {
  check_append(args);
  if (args.metadata.num_tokens == 0) return;
  int tokens = std::clamp(kItems / Cut(args).items(args), 1, kMaxTokens);
  const dim3 blocks(static_cast<unsigned>((args.metadata.num_tokens + tokens - 1) / tokens));
  RopeAppendArgs copy = args;
  void* arguments[] = {&copy, &tokens};
  launch_kernel(reinterpret_cast<const void*>(rope_append_kernel), "rope_append_kernel", blocks, kThreads, arguments, 0,
                stream);
}

}  // namespace warploom::cuda
