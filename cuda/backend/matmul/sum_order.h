// The order in which the products of a row are added: the same in every kernel of packed weights, and for any number of tokens.
//
// The tiles along the inputs are cut into chunks of equal length, each of which is added from its first input to its last. Two
// neighbouring chunks are a span: chunk 0 + chunk 1. The first half of the spans is added from left to right to +0, and so is the
// second; a row's sum is first half + second half. With the most chunks there are,
//   ((chunk 0 + chunk 1) + (chunk 2 + chunk 3)) + ((chunk 4 + chunk 5) + (chunk 6 + chunk 7)).
// A chunk beyond the last counts as +0. The halves are what two thread blocks can add for themselves and exchange once.
#pragma once

#include <algorithm>

#include "core/divide.h"

namespace warploom::cuda {

inline constexpr int kMaxChunks = 8;
inline constexpr int kChunksPerSpan = 2;
inline constexpr int kMaxSpans = kMaxChunks / kChunksPerSpan;
inline constexpr int kMinChunkTiles = 4;  // unless there are fewer tiles

struct SumOrder {
  int chunks = 1;
  int chunk_tiles = 0;  // the last chunks may have fewer
  int spans = 1;
  int half_spans = 1;  // of the first half; the second has the rest
};

inline SumOrder sum_order(int col_tiles) {
  SumOrder order;
  order.chunks = std::clamp(col_tiles / kMinChunkTiles, 1, kMaxChunks);
  order.chunk_tiles = ceil_div(col_tiles, order.chunks);
  order.spans = ceil_div(order.chunks, kChunksPerSpan);
  order.half_spans = ceil_div(order.spans, 2);
  return order;
}

}  // namespace warploom::cuda
