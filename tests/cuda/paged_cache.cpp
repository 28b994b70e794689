#include "cuda/paged_cache.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace warploom::test {

PagedData random_data(const PagedCase& c, std::mt19937& rng, DType queries, float spread) {
  std::normal_distribution<float> normal;
  const auto draw = [&](std::int64_t count, float deviation, DType type) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = rounded(deviation * normal(rng), type);
    return values;
  };
  PagedData data;
  for (const std::int64_t n : c.lengths) {
    data.queries.push_back(draw(n * c.heads * c.head_dim, spread, queries));
    data.keys.push_back(draw(n * c.kv_heads * c.head_dim, 1.0f, c.type));
    data.values.push_back(draw(n * c.kv_heads * c.head_dim, 1.0f, c.type));
  }
  return data;
}

PagedCache::PagedCache(const PagedCase& c, const PagedData& data, std::uint32_t seed, const RowTypes& types)
    : case_(c), types_(types), data_(data), tables_(c, seed) {
  view_ = {nullptr, c.type, 2, tables_.num_blocks, c.kv_heads, c.head_dim, c.block_size};
  std::vector<float> host(static_cast<std::size_t>(view_.bytes() / bytes_of(c.type)), std::nanf(""));
  for (std::size_t s = 0; s < c.lengths.size(); ++s) {
    for (std::int64_t p = 0; p < c.lengths[s]; ++p) {
      const std::int64_t block = tables_.rows[s][static_cast<std::size_t>(p / c.block_size)],
                         within = p % c.block_size * c.head_dim;
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        const auto from = static_cast<std::ptrdiff_t>((p * c.kv_heads + h) * c.head_dim);
        std::copy_n(data.keys[s].begin() + from, c.head_dim, host.begin() + view_.keys(1, block, h) + within);
        std::copy_n(data.values[s].begin() + from, c.head_dim, host.begin() + view_.values(1, block, h) + within);
      }
    }
  }
  cache_ = std::make_unique<DeviceArray<std::byte>>(encoded(host, c.type));
  view_.data = cache_->data();
}

void PagedCache::forget(std::size_t sequence, std::int64_t position) {
  const std::int64_t element = bytes_of(case_.type);
  for (std::int64_t p = 0; p < position; ++p) {
    std::int32_t& block = tables_.rows[sequence][static_cast<std::size_t>(p / case_.block_size)];
    const std::int64_t within = p % case_.block_size * case_.head_dim;
    for (std::int64_t h = 0; h < case_.kv_heads; ++h)
      for (const std::int64_t at : {view_.keys(1, block, h), view_.values(1, block, h)})
        throw_on_error(
            cudaMemset(cache_->data() + (at + within) * element, 0xff, static_cast<std::size_t>(case_.head_dim * element)));
    if (p + 1 < position && (p + 1) % case_.block_size == 0) block = kNoBlock;
  }
}

void PagedCache::add_query(std::vector<float>& queries, std::size_t sequence, std::int64_t position) const {
  const auto from = data_.queries[sequence].begin() + position * row();
  queries.insert(queries.end(), from, from + row());
  queries.insert(queries.end(), kExtra, std::nanf(""));
}

PagedAttentionArgs PagedCache::arguments(const std::vector<Span>& spans, int padding) {
  spans_ = spans;
  AttentionStep step;
  std::vector<float> queries;
  for (const Span& span : spans) {
    step.add(span, tables_);
    for (std::int64_t p = span.from; p < span.to; ++p) add_query(queries, span.sequence, p);
  }
  for (int i = 0; i < padding; ++i) {
    step.add({-1}, std::vector<std::int32_t>(static_cast<std::size_t>(tables_.max_blocks_per_seq), kNoBlock));
    queries.insert(queries.end(), static_cast<std::size_t>(row() + kExtra), std::nanf(""));
  }
  queries_ = std::make_unique<DeviceArray<std::byte>>(encoded(queries, types_.queries));
  const auto out_bytes = static_cast<std::size_t>(step.num_tokens() * (row() + kExtra) * bytes_of(types_.out));
  out_ = std::make_unique<DeviceArray<std::byte>>(std::vector<std::byte>(out_bytes + 2 * kGuard, std::byte{0x5a}));

  metadata_.clear();
  args_ = {};
  args_.queries = {queries_->data(), types_.queries, row() + kExtra};
  args_.num_heads = case_.heads;
  args_.softmax_scale = case_.scale();
  args_.soft_cap = case_.soft_cap;
  args_.window = case_.window;
  args_.round_to_bf16 = case_.round_to_bf16;
  args_.metadata = step.metadata([&](const std::vector<std::int32_t>& host) -> const std::int32_t* {
    return metadata_.emplace_back(std::make_unique<DeviceArray<std::int32_t>>(host))->data();
  });
  args_.cache = view_;
  args_.layer = 1;
  args_.out = {out_->data() + kGuard, types_.out, row() + kExtra};
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(args_);
  if (!workspace_ || bytes > workspace_bytes_) {
    workspace_bytes_ = bytes;
    workspace_ = std::make_unique<DeviceArray<std::byte>>(std::vector<std::byte>(bytes));
  }
  args_.workspace = {workspace_->data(), workspace_bytes_};
  return args_;
}

std::vector<float> PagedCache::result() const {
  const std::vector<std::byte> bytes = out_->host();
  const auto width = static_cast<std::size_t>(row() * bytes_of(types_.out)),
             step = width + static_cast<std::size_t>(kExtra * bytes_of(types_.out));
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
  return decoded(rows, types_.out);
}

std::vector<float> PagedCache::attend(const std::vector<Span>& spans, int padding) {
  const PagedAttentionArgs a = arguments(spans, padding);
  cuda::paged_attention(a, nullptr);
  throw_on_error(cudaDeviceSynchronize());
  return result();
}

void PagedCache::move_to(const std::vector<std::int64_t>& positions) {
  const std::vector<std::int32_t> moved(positions.begin(), positions.end());
  std::vector<float> queries;
  for (std::size_t i = 0; i < positions.size(); ++i) add_query(queries, spans_[i].sequence, positions[i]);
  const std::vector<std::byte> bytes = encoded(queries, types_.queries);
  throw_on_error(cudaMemcpy(const_cast<std::int32_t*>(args_.metadata.positions), moved.data(),
                            moved.size() * sizeof(moved[0]), cudaMemcpyHostToDevice));
  throw_on_error(cudaMemcpy(queries_->data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
}

}  // namespace warploom::test
