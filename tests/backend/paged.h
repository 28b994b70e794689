// Sequences with shuffled block tables, filled through rope_append, beside the plain keys and values for an oracle.
#pragma once

#include "fixture.h"

namespace warploom::test {

struct PagedCase {
  std::int64_t heads = 4, kv_heads = 2, head_dim = 32;
  DType type = DType::f32;
  RopeParams rope;
  std::vector<std::int64_t> lengths;  // tokens of each sequence
  float soft_cap = 0.0f;
  std::int64_t block_size = 16;
};

/// A step's metadata in device memory. starts: first token of each sequence.
struct PlacedStep {
  AttentionMetadata metadata;

  PlacedStep(Backend& backend, const std::vector<std::int32_t>& positions, const std::vector<std::int32_t>& rows,
             std::vector<std::int32_t> starts, const std::vector<std::int32_t>& tables, std::int64_t max_blocks_per_seq) {
    metadata.num_tokens = static_cast<std::int64_t>(positions.size());
    metadata.num_seqs = static_cast<std::int64_t>(starts.size());
    starts.push_back(static_cast<std::int32_t>(positions.size()));
    for (std::size_t s = 0; s + 1 < starts.size(); ++s)
      metadata.max_query_len = std::max<std::int64_t>(metadata.max_query_len, starts[s + 1] - starts[s]);
    metadata.max_blocks_per_seq = max_blocks_per_seq;
    const std::int32_t** places[] = {&metadata.positions, &metadata.token_to_seq, &metadata.qo_indptr,
                                     &metadata.block_tables};
    const std::vector<std::int32_t>* values[] = {&positions, &rows, &starts, &tables};
    for (std::size_t i = 0; i < 4; ++i) {
      memory[i] = upload(backend, *values[i]);
      *places[i] = static_cast<const std::int32_t*>(memory[i]->data());
    }
  }

 private:
  std::unique_ptr<Buffer> memory[4];
};

inline RopeAppendArgs append_args(float* qkv, std::int64_t num_heads, RopeTables& rope, const AttentionMetadata& metadata,
                                  KvCache& cache, std::int64_t layer) {
  const KvCacheShape& kv = cache.shape();
  const QkvViews views = split_qkv(qkv, num_heads, kv.num_kv_heads, kv.head_dim);
  return {views.queries, views.keys, views.values, num_heads, rope.view(), metadata, cache.view(), layer};
}

inline PagedAttentionArgs attention_args(Backend& backend, float* qkv, std::int64_t num_heads,
                                         const AttentionMetadata& metadata, KvCache& cache, std::int64_t layer, void* out) {
  const KvCacheShape& kv = cache.shape();
  PagedAttentionArgs args;
  args.queries = split_qkv(qkv, num_heads, kv.num_kv_heads, kv.head_dim).queries;
  args.num_heads = num_heads;
  args.metadata = metadata;
  args.cache = cache.view();
  args.layer = layer;
  args.out = {out, backend.activation_type(), num_heads * kv.head_dim};
  return args;
}

inline void attend_with_workspace(Backend& backend, PagedAttentionArgs args) {
  const auto workspace = backend.alloc(backend.workspace_bytes(args));
  args.workspace = {workspace->data(), workspace->bytes()};
  backend.paged_attention(args);
  backend.synchronise();
}

/// One run over all tokens of all sequences, cut into steps of at most `chunk` tokens a sequence.
class Paged {
 public:
  Paged(Backend& backend, const PagedCase& c, const std::vector<std::vector<float>>& qkv, std::uint32_t shuffle_seed)
      : backend_(backend), case_(c), qkv_(qkv) {
    std::int64_t blocks = 3;  // some that nobody owns
    for (const std::int64_t n : c.lengths) {
      table_stride_ = std::max(table_stride_, (n + c.block_size - 1) / c.block_size);
      blocks += (n + c.block_size - 1) / c.block_size;
    }
    cache = backend.create_kv_cache({2, c.kv_heads, c.head_dim, blocks, c.type, c.block_size});
    rope_ = backend.load_rope(c.rope, nullptr);
    std::vector<std::int32_t> free(static_cast<std::size_t>(blocks));
    std::iota(free.begin(), free.end(), 0);
    std::mt19937 rng(shuffle_seed);
    std::shuffle(free.begin(), free.end(), rng);
    tables_.assign(c.lengths.size() * static_cast<std::size_t>(table_stride_), 0);
    std::size_t next = 0;
    for (std::size_t s = 0; s < c.lengths.size(); ++s)
      for (std::int64_t b = 0; b * c.block_size < c.lengths[s]; ++b)
        tables_[s * static_cast<std::size_t>(table_stride_) + static_cast<std::size_t>(b)] = free[next++];
  }

  std::int64_t row() const { return (case_.heads + 2 * case_.kv_heads) * case_.head_dim; }

  /// Appends and attends tokens [from, to) of the given sequences in one step; returns [tokens, heads * head_dim].
  std::vector<float> step(const std::vector<std::size_t>& sequences, std::int64_t from, std::int64_t to,
                          std::int64_t window = 0) {
    std::vector<std::int32_t> positions, rows, starts, step_tables;
    std::vector<float> host;
    for (const std::size_t s : sequences) {
      if (from >= case_.lengths[s]) continue;
      const auto row_of_table = static_cast<std::int32_t>(starts.size());
      starts.push_back(static_cast<std::int32_t>(positions.size()));
      step_tables.insert(step_tables.end(), tables_.begin() + static_cast<std::ptrdiff_t>(s) * table_stride_,
                         tables_.begin() + static_cast<std::ptrdiff_t>(s + 1) * table_stride_);
      for (std::int64_t p = from; p < std::min(to, case_.lengths[s]); ++p) {
        positions.push_back(static_cast<std::int32_t>(p));
        rows.push_back(row_of_table);
        host.insert(host.end(), qkv_[s].begin() + p * row(), qkv_[s].begin() + (p + 1) * row());
      }
    }
    if (positions.empty()) return {};
    const auto tokens = static_cast<std::int64_t>(positions.size());
    Guarded qkv(backend_, host);
    Activations out(backend_, static_cast<std::size_t>(tokens * case_.heads * case_.head_dim));
    const PlacedStep step(backend_, positions, rows, starts, step_tables, table_stride_);
    backend_.rope_append(append_args(qkv.data(), case_.heads, *rope_, step.metadata, *cache, 1));
    PagedAttentionArgs args = attention_args(backend_, qkv.data(), case_.heads, step.metadata, *cache, 1, out.data());
    args.softmax_scale = scale();
    args.soft_cap = case_.soft_cap;
    args.window = window;
    attend_with_workspace(backend_, args);
    rotated = qkv.read();
    return out.read();
  }

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(case_.head_dim)); }

  std::unique_ptr<KvCache> cache;
  std::vector<float> rotated;  // the last step's qkv after rope_append

 private:
  Backend& backend_;
  PagedCase case_;
  const std::vector<std::vector<float>>& qkv_;
  std::unique_ptr<RopeTables> rope_;
  std::vector<std::int32_t> tables_;
  std::int64_t table_stride_ = 0;
};

inline std::vector<std::vector<float>> random_qkv(std::mt19937& rng, const PagedCase& c) {
  std::vector<std::vector<float>> all;
  for (const std::int64_t n : c.lengths)
    all.push_back(random_floats(rng, static_cast<std::size_t>(n * (c.heads + 2 * c.kv_heads) * c.head_dim)));
  return all;
}

/// The queries of rows of queries, keys and values.
template <typename T>
std::vector<T> queries_of(const PagedCase& c, const std::vector<T>& rows) {
  std::vector<T> queries;
  const std::int64_t width = (c.heads + 2 * c.kv_heads) * c.head_dim;
  for (std::size_t at = 0; at < rows.size(); at += static_cast<std::size_t>(width)) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(at);
    queries.insert(queries.end(), row, row + c.heads * c.head_dim);
  }
  return queries;
}

/// Rotated queries and keys of one row, in double.
inline std::vector<double> rotate(const PagedCase& c, const float* row, std::int64_t position) {
  std::vector<double> out(row, row + (c.heads + 2 * c.kv_heads) * c.head_dim);
  for (std::int64_t h = 0; h < c.heads + c.kv_heads; ++h) {
    for (std::int64_t i = 0; i < c.rope.dims / 2; ++i) {
      const double angle =
          static_cast<double>(position) * c.rope.frequency_scale *
          std::pow(static_cast<double>(c.rope.base), -2.0 * static_cast<double>(i) / static_cast<double>(c.rope.dims));
      const auto a = static_cast<std::size_t>(h * c.head_dim + (c.rope.interleaved ? 2 * i : i));
      const auto b = static_cast<std::size_t>(h * c.head_dim + (c.rope.interleaved ? 2 * i + 1 : i + c.rope.dims / 2));
      const double x = out[a], y = out[b];
      out[a] = x * std::cos(angle) - y * std::sin(angle);
      out[b] = x * std::sin(angle) + y * std::cos(angle);
    }
  }
  return out;
}

/// Attention of the token at `position`, in double; keys and values pass through the cache's type.
inline std::vector<double> attend(const PagedCase& c, const std::vector<float>& qkv, std::int64_t position,
                                  std::int64_t window) {
  const std::int64_t row = (c.heads + 2 * c.kv_heads) * c.head_dim;
  const auto stored = [&](double v) -> double {
    const auto f = static_cast<float>(v);
    return c.type == DType::f16    ? half_to_float(float_to_half(f))
           : c.type == DType::bf16 ? bfloat16_to_float(float_to_bfloat16(f))
                                   : v;
  };
  const std::vector<double> query = rotate(c, qkv.data() + position * row, position);
  std::vector<double> out;
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
  std::vector<std::vector<double>> rows;
  for (std::int64_t p = 0; p <= position; ++p) rows.push_back(rotate(c, qkv.data() + p * row, p));
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    std::vector<double> values(static_cast<std::size_t>(c.head_dim), 0.0);
    double total = 0;
    for (std::int64_t p = first; p <= position; ++p) {
      double dot = 0;
      for (std::int64_t d = 0; d < c.head_dim; ++d)
        dot += query[static_cast<std::size_t>(h * c.head_dim + d)] *
               stored(rows[static_cast<std::size_t>(p)][static_cast<std::size_t>((c.heads + kv) * c.head_dim + d)]);
      dot /= std::sqrt(static_cast<double>(c.head_dim));
      if (c.soft_cap > 0) dot = c.soft_cap * std::tanh(dot / c.soft_cap);
      const double weight = std::exp(dot);
      total += weight;
      for (std::int64_t d = 0; d < c.head_dim; ++d)
        values[static_cast<std::size_t>(d)] +=
            weight *
            stored(
                rows[static_cast<std::size_t>(p)][static_cast<std::size_t>((c.heads + c.kv_heads + kv) * c.head_dim + d)]);
    }
    for (const double v : values) out.push_back(v / total);
  }
  return out;
}

}  // namespace warploom::test
