#include "cuda/paged_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "core/half.h"

namespace warploom::test {

float PagedCase::scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }

float rounded(float x, DType type) {
  if (type == DType::f16) return half_to_float(float_to_half(x));
  return type == DType::bf16 ? bfloat16_to_float(float_to_bfloat16(x)) : x;
}

std::vector<std::byte> encoded(std::span<const float> values, DType type) {
  std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(bytes_of(type)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t narrow = type == DType::f16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
    if (type == DType::f32)
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    else
      std::memcpy(bytes.data() + 2 * i, &narrow, 2);
  }
  return bytes;
}

std::vector<float> decoded(std::span<const std::byte> bytes, DType type) {
  std::vector<float> values(bytes.size() / static_cast<std::size_t>(bytes_of(type)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t narrow;
    if (type == DType::f32) {
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
      continue;
    }
    std::memcpy(&narrow, bytes.data() + 2 * i, 2);
    values[i] = type == DType::f16 ? half_to_float(narrow) : bfloat16_to_float(narrow);
  }
  return values;
}

PagedData::PagedData(const PagedCase& c, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  const auto draw = [&](std::int64_t count, float spread, DType type) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = rounded(spread * normal(rng), type);
    return values;
  };
  for (const std::int64_t n : c.lengths) {
    queries.push_back(draw(n * c.heads * c.head_dim, c.spread, c.query_type));
    keys.push_back(draw(n * c.kv_heads * c.head_dim, 1.0f, c.type));
    values.push_back(draw(n * c.kv_heads * c.head_dim, 1.0f, c.type));
  }
}

PagedCache::PagedCache(const PagedCase& c, const PagedData& data, std::uint32_t seed) : case_(c), data_(data) {
  std::mt19937 rng(seed);
  const auto blocks_of = [&](std::int64_t n) { return (n + c.block_size - 1) / c.block_size; };
  std::int64_t blocks = 2;
  for (const std::int64_t n : c.lengths) blocks += blocks_of(n), stride_ = std::max(stride_, blocks_of(n) + seed % 3);
  stride_ = std::max<std::int64_t>(stride_, 1);
  std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), rng);
  view_.type = c.type;
  view_.num_layers = 2;
  view_.num_blocks = blocks;
  view_.num_kv_heads = c.kv_heads;
  view_.head_dim = c.head_dim;
  view_.block_size = c.block_size;
  std::vector<float> host(static_cast<std::size_t>(view_.bytes() / bytes_of(c.type)), std::nanf(""));
  std::size_t used = 0;
  for (std::size_t s = 0; s < c.lengths.size(); ++s) {
    std::vector<std::int32_t> table(static_cast<std::size_t>(stride_), 0x7fffffff);  // whoever follows this is caught
    for (std::int64_t i = 0; i < blocks_of(c.lengths[s]); ++i) table[static_cast<std::size_t>(i)] = order[used++];
    for (std::int64_t p = 0; p < c.lengths[s]; ++p) {
      const std::int64_t block = table[static_cast<std::size_t>(p / c.block_size)], within = p % c.block_size * c.head_dim;
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        const auto from = static_cast<std::ptrdiff_t>((p * c.kv_heads + h) * c.head_dim);
        std::copy_n(data.keys[s].begin() + from, c.head_dim, host.begin() + view_.keys(1, block, h) + within);
        std::copy_n(data.values[s].begin() + from, c.head_dim, host.begin() + view_.values(1, block, h) + within);
      }
    }
    tables_.push_back(table);
  }
  cache_ = std::make_unique<DeviceArray<std::byte>>(encoded(host, c.type));
  view_.data = cache_->data();
}

void PagedCache::forget(std::size_t sequence, std::int64_t position) {
  const std::int64_t element = bytes_of(case_.type);
  for (std::int64_t p = 0; p < position; ++p) {
    std::int32_t& block = tables_[sequence][static_cast<std::size_t>(p / case_.block_size)];
    const std::int64_t within = p % case_.block_size * case_.head_dim;
    for (std::int64_t h = 0; h < case_.kv_heads; ++h)
      for (const std::int64_t at : {view_.keys(1, block, h), view_.values(1, block, h)})
        throw_on_error(
            cudaMemset(cache_->data() + (at + within) * element, 0xff, static_cast<std::size_t>(case_.head_dim * element)));
    if (p + 1 < position && (p + 1) % case_.block_size == 0) block = 0x7fffffff;
  }
}

PagedAttentionArgs PagedCache::arguments(const std::vector<Span>& spans, int padding) {
  spans_ = spans;
  std::vector<std::int32_t> positions, rows, starts{0}, tables;
  std::vector<float> queries;
  std::int64_t most = 1;
  const auto add_row = [&](const float* row_of) {
    for (std::int64_t i = 0; i < row(); ++i) queries.push_back(row_of ? row_of[i] : std::nanf(""));
    queries.insert(queries.end(), kExtra, std::nanf(""));
  };
  for (const Span& span : spans) {
    for (std::int64_t p = span.from; p < span.to; ++p) {
      positions.push_back(static_cast<std::int32_t>(p));
      rows.push_back(static_cast<std::int32_t>(starts.size()) - 1);
      add_row(data_.queries[span.sequence].data() + p * row());
    }
    most = std::max(most, span.to - span.from);
    starts.push_back(static_cast<std::int32_t>(positions.size()));
    tables.insert(tables.end(), tables_[span.sequence].begin(), tables_[span.sequence].end());
  }
  for (int i = 0; i < padding; ++i) {
    positions.push_back(-1);
    rows.push_back(static_cast<std::int32_t>(starts.size()) - 1);
    add_row(nullptr);
    starts.push_back(static_cast<std::int32_t>(positions.size()));
    tables.insert(tables.end(), static_cast<std::size_t>(stride_), 0x7fffffff);
  }
  tokens_ = static_cast<std::int64_t>(positions.size());
  positions_ = std::make_unique<DeviceArray<std::int32_t>>(positions);
  rows_ = std::make_unique<DeviceArray<std::int32_t>>(rows);
  starts_ = std::make_unique<DeviceArray<std::int32_t>>(starts);
  device_tables_ = std::make_unique<DeviceArray<std::int32_t>>(tables);
  queries_ = std::make_unique<DeviceArray<std::byte>>(encoded(queries, case_.query_type));
  const std::size_t out_bytes = static_cast<std::size_t>(tokens_ * (row() + kExtra) * bytes_of(case_.out_type));
  out_ = std::make_unique<DeviceArray<std::byte>>(std::vector<std::byte>(out_bytes + 2 * kGuard, std::byte{0x5a}));

  PagedAttentionArgs a;
  a.queries = {queries_->data(), case_.query_type, row() + kExtra};
  a.num_heads = case_.heads;
  a.softmax_scale = case_.scale();
  a.soft_cap = case_.soft_cap;
  a.window = case_.window;
  a.metadata.num_tokens = tokens_;
  a.metadata.num_seqs = static_cast<std::int64_t>(starts.size()) - 1;
  a.metadata.max_query_len = most;
  a.metadata.positions = positions_->data();
  a.metadata.token_to_seq = rows_->data();
  a.metadata.qo_indptr = starts_->data();
  a.metadata.block_tables = device_tables_->data();
  a.metadata.max_blocks_per_seq = stride_;
  a.cache = view_;
  a.layer = 1;
  a.out = {out_->data() + kGuard, case_.out_type, row() + kExtra};
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  if (!workspace_ || bytes > workspace_bytes_) {
    workspace_bytes_ = bytes;
    workspace_ = std::make_unique<DeviceArray<std::byte>>(std::vector<std::byte>(bytes));
  }
  a.workspace = {workspace_->data(), workspace_bytes_};
  return a;
}

std::vector<float> PagedCache::result() const {
  const std::vector<std::byte> bytes = out_->host();
  const auto width = static_cast<std::size_t>(row() * bytes_of(case_.out_type)),
             step = width + static_cast<std::size_t>(kExtra * bytes_of(case_.out_type));
  std::vector<std::byte> rows;
  std::size_t guards = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool inside = i >= kGuard && i < bytes.size() - kGuard && (i - kGuard) % step < width;
    if (inside)
      rows.push_back(bytes[i]);
    else
      guards += bytes[i] == std::byte{0x5a} ? 0 : 1;
  }
  EXPECT_EQ(guards, 0u) << "wrote beyond rows";
  return decoded(rows, case_.out_type);
}

std::vector<float> PagedCache::attend(const std::vector<Span>& spans, int padding) {
  const PagedAttentionArgs a = arguments(spans, padding);
  cuda::paged_attention(a, nullptr);
  throw_on_error(cudaDeviceSynchronize());
  return result();
}

void PagedCache::move_to(const std::vector<std::int64_t>& positions) {
  std::vector<std::int32_t> moved;
  std::vector<float> queries;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    moved.push_back(static_cast<std::int32_t>(positions[i]));
    const auto from = data_.queries[spans_[i].sequence].begin() + positions[i] * row();
    queries.insert(queries.end(), from, from + row());
    queries.insert(queries.end(), kExtra, std::nanf(""));
  }
  const std::vector<std::byte> bytes = encoded(queries, case_.query_type);
  throw_on_error(cudaMemcpy(positions_->data(), moved.data(), moved.size() * sizeof(moved[0]), cudaMemcpyHostToDevice));
  throw_on_error(cudaMemcpy(queries_->data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
}

std::vector<double> attend_exactly(const PagedCase& c, const PagedData& data, std::size_t s, std::int64_t position) {
  const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  std::vector<double> out;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    const float* query = data.queries[s].data() + (position * c.heads + h) * c.head_dim;
    std::vector<double> scores;
    for (std::int64_t p = first; p <= position; ++p) {
      const float* key = data.keys[s].data() + (p * c.kv_heads + kv) * c.head_dim;
      double dot = 0.0;
      for (std::int64_t d = 0; d < c.head_dim; ++d) dot += static_cast<double>(query[d]) * static_cast<double>(key[d]);
      dot *= static_cast<double>(c.scale());
      if (c.soft_cap > 0.0f) dot = static_cast<double>(c.soft_cap) * std::tanh(dot / static_cast<double>(c.soft_cap));
      scores.push_back(dot);
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    std::vector<double> sum(static_cast<std::size_t>(c.head_dim), 0.0);
    double total = 0.0;
    for (std::int64_t p = first; p <= position; ++p) {
      const double weight = std::exp(scores[static_cast<std::size_t>(p - first)] - top);
      const float* value = data.values[s].data() + (p * c.kv_heads + kv) * c.head_dim;
      total += weight;
      for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += weight * static_cast<double>(value[d]);
    }
    for (const double v : sum) out.push_back(v / total);
  }
  return out;
}

}  // namespace warploom::test
