// How many bytes each op has to move, for benchmarks and reports.
#include "backend/backend.h"

namespace warploom {

namespace {
constexpr std::int64_t kFloat = sizeof(float);
}

std::int64_t bytes_moved(const EmbedArgs& args) {
  const std::int64_t row = static_cast<std::int64_t>(args.table->bytes()) / args.table->rows();
  return args.tokens * (row + args.table->cols() * kFloat);
}

std::int64_t bytes_moved(const RmsNormArgs& args, DType activations) {
  const std::int64_t stream = args.delta ? 3 : 1;  // with delta: two rows in, one out
  return args.tokens * args.hidden_size * (stream * kFloat + bytes_of(activations)) + args.hidden_size * kFloat;
}

std::int64_t bytes_moved(const GatherRowsArgs& args) { return args.count * args.width * 2 * kFloat; }

std::int64_t bytes_moved(const MatmulArgs& args, DType activations) {
  const std::int64_t rows = args.weight->cols() * bytes_of(activations) + args.weight->rows() * kFloat;
  return static_cast<std::int64_t>(args.weight->bytes()) + args.tokens * rows;
}

std::int64_t bytes_moved(const RopeAppendArgs& args) {
  const KvCacheView& kv = args.cache;
  const std::int64_t rotated = args.num_heads * kv.head_dim * 2 * kFloat;
  const std::int64_t stored = kv.num_kv_heads * (2 * kv.head_dim * kFloat + kv_bytes_of(kv.type, kv.head_dim));
  return args.metadata.num_tokens * (rotated + stored);
}

std::int64_t bytes_moved(const SwigluArgs& args, DType activations) {
  return args.tokens * args.intermediate_size * (2 * kFloat + bytes_of(activations));
}

std::int64_t bytes_moved(const GatedMatmulArgs& args, DType activations) {
  const std::int64_t row = (args.weight->cols() + args.intermediate_size()) * bytes_of(activations);
  return static_cast<std::int64_t>(args.weight->bytes()) + args.tokens * row;
}

}  // namespace warploom
