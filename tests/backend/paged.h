// Runs rope_append and attention of a backend over sequences in a paged KV cache.
#pragma once

#include "fixture.h"
#include "support/attention_oracle.h"
#include "support/attention_step.h"
#include "support/bf16_attention_oracle.h"
#include "support/int8_attention_oracle.h"

namespace warploom::test {

/// Rotation of all dimensions of a head.
inline RopeParams whole_heads(const PagedCase& c) {
  RopeParams rope;
  rope.dims = c.head_dim;
  return rope;
}

/// A random row [heads + 2 kv_heads, head_dim] of queries, keys and values for each token.
struct PagedRows {
  std::int64_t width;                   // of a row
  std::vector<std::vector<float>> qkv;  // [sequence][position * width ...]

  PagedRows(const PagedCase& c, std::mt19937& rng) : width((c.heads + 2 * c.kv_heads) * c.head_dim) {
    for (const std::int64_t n : c.lengths) qkv.push_back(random_floats(rng, static_cast<std::size_t>(n * width)));
  }
};

/// Radians per position of each pair, without YaRN.
inline std::vector<double> exact_frequencies(const RopeParams& rope) {
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < rope.dims / 2; ++i)
    frequencies.push_back(
        static_cast<double>(rope.frequency_scale) *
        std::pow(static_cast<double>(rope.base), -2.0 * static_cast<double>(i) / static_cast<double>(rope.dims)));
  return frequencies;
}

/// What rope_append makes of the rows, with keys and values rounded to the cache's type.
inline PagedTokens<double> rotated_exactly(const PagedCase& c, const RopeParams& rope, const PagedRows& rows) {
  const std::vector<double> frequencies = exact_frequencies(rope);
  PagedTokens<double> tokens;
  const std::int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
  for (const std::vector<float>& qkv : rows.qkv) {
    auto &q = tokens.queries.emplace_back(), &k = tokens.keys.emplace_back(), &v = tokens.values.emplace_back();
    for (auto row = qkv.begin(); row != qkv.end(); row += rows.width) {
      q.insert(q.end(), row, row + queries);
      k.insert(k.end(), row + queries, row + queries + keys);
      v.insert(v.end(), row + queries + keys, row + rows.width);
    }
    const auto rotate_all = [&](std::vector<double>& heads, std::int64_t count) {
      for (std::size_t i = 0; i < heads.size(); i += static_cast<std::size_t>(c.head_dim))
        rotate_exactly(&heads[i], frequencies, rope.interleaved, static_cast<double>(rope.mscale),
                       static_cast<std::int64_t>(i) / (count * c.head_dim));
    };
    rotate_all(q, c.heads);
    rotate_all(k, c.kv_heads);
    for (std::vector<double>* stored : {&k, &v})
      for (double& x : *stored) x = static_cast<double>(rounded(static_cast<float>(x), c.type));
  }
  return tokens;
}

/// A step's metadata in a backend's memory.
struct PlacedStep {
  std::vector<std::unique_ptr<Buffer>> memory;
  AttentionMetadata metadata;

  PlacedStep(Backend& backend, const AttentionStep& step)
      : metadata(step.metadata([&](const std::vector<std::int32_t>& host) {
          memory.push_back(upload(backend, host));
          return static_cast<const std::int32_t*>(memory.back()->data());
        })) {}
};

/// Arguments over rows of queries, keys and values side by side.
inline RopeAppendArgs append_args(float* qkv, std::int64_t heads, RopeTables* rope, const AttentionMetadata& metadata,
                                  KvCache* cache, std::int64_t layer) {
  const QkvViews views = split_qkv(qkv, heads, cache->shape().num_kv_heads, cache->shape().head_dim);
  return {views.queries, views.keys, views.values, heads, rope->view(), metadata, cache->view(), layer};
}
inline PagedAttentionArgs attention_args(const Backend& backend, float* qkv, std::int64_t heads, float softmax_scale,
                                         float soft_cap, std::int64_t window, const AttentionMetadata& metadata,
                                         KvCache* cache, std::int64_t layer, void* out) {
  const KvCacheShape& shape = cache->shape();
  const TensorView queries = split_qkv(qkv, heads, shape.num_kv_heads, shape.head_dim).queries;
  return {queries,       heads,  softmax_scale,
          soft_cap,      window, metadata,
          cache->view(), layer,  {out, backend.activation_type(), heads * shape.head_dim}};
}

inline void attend_with_workspace(Backend& backend, PagedAttentionArgs args) {
  const auto workspace = backend.alloc(backend.workspace_bytes(args));
  args.workspace = {workspace->data(), workspace->bytes()};
  backend.paged_attention(args);
  backend.synchronise();
}

/// A cache with two layers, of which the second is used.
class Paged {
 public:
  Paged(Backend& backend, const PagedCase& c, const RopeParams& rope, const PagedRows& rows, std::uint32_t shuffle_seed)
      : backend_(backend), case_(c), rows_(rows), tables_(c, shuffle_seed), rope_(backend.load_rope(rope, nullptr)) {
    cache_ = backend.create_kv_cache({2, c.kv_heads, c.head_dim, tables_.num_blocks, c.type, c.block_size});
  }

  /// Appends and attends tokens [from, to) of the given sequences in one step; returns [tokens, heads * head_dim]. Without
  /// `append`: the keys and values of an earlier step, and queries that are not rotated.
  std::vector<float> step(const std::vector<std::size_t>& sequences, std::int64_t from, std::int64_t to,
                          bool append = true) {
    AttentionStep step;
    std::vector<float> host;
    for (const std::size_t s : sequences) {
      const Span span{s, from, std::min(to, case_.lengths[s])};
      if (span.to <= span.from) continue;
      step.add(span, tables_);
      host.insert(host.end(), rows_.qkv[s].begin() + span.from * rows_.width, rows_.qkv[s].begin() + span.to * rows_.width);
    }
    if (host.empty()) return {};
    Guarded qkv(backend_, host);
    Activations out(backend_, static_cast<std::size_t>(step.num_tokens() * case_.heads * case_.head_dim));
    const PlacedStep placed(backend_, step);
    if (append) backend_.rope_append(append_args(qkv.data(), case_.heads, rope_.get(), placed.metadata, cache_.get(), 1));
    attend_with_workspace(backend_, attention_args(backend_, qkv.data(), case_.heads, case_.scale(), case_.soft_cap,
                                                   case_.window, placed.metadata, cache_.get(), 1, out.data()));
    rotated = qkv.read();
    return out.read();
  }

  KvCache* cache() const { return cache_.get(); }

  std::vector<float> rotated;  // the last step's rows after rope_append

 private:
  Backend& backend_;
  PagedCase case_;
  const PagedRows& rows_;
  BlockTables tables_;
  std::unique_ptr<RopeTables> rope_;
  std::unique_ptr<KvCache> cache_;
};

/// `got` is attention over all tokens of all sequences in bf16 or int8 on the CPU, up to roundings of f32. rotated: the rows after
/// rope_append, one sequence after the other.
inline void expect_rounded_sums(const PagedCase& c, const std::vector<float>& rotated, const std::vector<float>& got) {
  const std::int64_t width = (c.heads + 2 * c.kv_heads) * c.head_dim;
  const float* rows = rotated.data();
  auto at = got.begin();
  for (const std::int64_t length : c.lengths) {
    const Int8Tokens tokens(c, rows, c.type == DType::int8 ? length : 0);
    for (std::int64_t p = 0; p < length; ++p)
      for (const Bounded& want : c.type == DType::bf16 ? attend_in_bf16(c, rows, p) : attend_in_int8(c, tokens, p)) {
        ASSERT_NE(at, got.end());
        ASSERT_NEAR(*at, want.value, want.tolerance) << "token " << p << ", at " << at - got.begin();
        ++at;
      }
    rows += length * width;
  }
  EXPECT_EQ(at, got.end());
}

/// rope_append and attention over all tokens of all sequences, on random rows, equal the oracle.
inline void expect_attention(Backend& backend, const PagedCase& c, const RopeParams& rope, std::mt19937& rng) {
  SCOPED_TRACE(testing::Message() << c.heads << " heads, " << c.kv_heads << " kv heads of " << c.head_dim << ", type "
                                  << static_cast<int>(c.type) << ", blocks of " << c.block_size << ", window " << c.window);
  const PagedRows rows(c, rng);
  Paged paged(backend, c, rope, rows, rng());
  std::vector<std::size_t> all(c.lengths.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const std::vector<float> got = paged.step(all, 0, 1 << 20);
  // Tensor cores sum up bf16 in ways of their own.
  if ((c.type == DType::bf16 && backend.activation_type() == DType::f32) || c.type == DType::int8)
    return expect_rounded_sums(c, paged.rotated, got);
  const auto exact = rotated_exactly(c, rope, rows);
  std::vector<double> want;
  for (const std::size_t s : all) {
    for (std::int64_t p = 0; p < c.lengths[s]; ++p) {
      const auto row = attend_exactly(c, exact, s, p);
      want.insert(want.end(), row.begin(), row.end());
    }
  }
  // f16 keys may round differently if the oracle's rotation differs in its last bit.
  const double keys = c.type == DType::f32 ? 5e-6 : c.type == DType::f16 ? 2e-3 : 2e-2;
  // If products take 16-bit inputs, queries and probabilities are rounded to the cache's type, and the result to its own.
  const bool rounds = backend.activation_type() != DType::f32;
  const double tolerance = keys + (rounds ? 4 * std::max(rounding(c.type), rounding(backend.activation_type())) : 0);
  expect_near_all(got, want, tolerance, tolerance);
}

/// The queries of rows.
inline std::vector<float> queries_of(const PagedCase& c, const std::vector<float>& rows) {
  std::vector<float> queries;
  for (auto row = rows.begin(); row != rows.end(); row += (c.heads + 2 * c.kv_heads) * c.head_dim)
    queries.insert(queries.end(), row, row + c.heads * c.head_dim);
  return queries;
}

}  // namespace warploom::test
