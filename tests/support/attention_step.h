// Batches of tokens of several sequences over shuffled blocks, as attention metadata describes them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "support/attention_oracle.h"
#include "warploom/attention_metadata.h"

namespace warploom::test {

inline constexpr std::int32_t kNoBlock = 0x7fffffff;  // a read that follows it ends far outside of the cache

/// Which blocks the sequences hold, shuffled by `seed`. Entries that no token needs are kNoBlock.
struct BlockTables {
  std::int64_t num_blocks = 2, max_blocks_per_seq = 1;  // two blocks belong to no sequence
  std::vector<std::vector<std::int32_t>> rows;

  BlockTables(const PagedCase& c, std::uint32_t seed) {
    const auto blocks_of = [&](std::int64_t tokens) { return (tokens + c.block_size - 1) / c.block_size; };
    for (const std::int64_t n : c.lengths) {
      num_blocks += blocks_of(n);
      max_blocks_per_seq = std::max(max_blocks_per_seq, blocks_of(n) + seed % 3);
    }
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(num_blocks));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::mt19937 rng(seed);
    std::shuffle(blocks.begin(), blocks.end(), rng);
    auto next = blocks.begin();
    for (const std::int64_t n : c.lengths) {
      rows.emplace_back(static_cast<std::size_t>(max_blocks_per_seq), kNoBlock);
      std::copy_n(next, blocks_of(n), rows.back().begin());
      next += blocks_of(n);
    }
  }
};

/// Tokens [from, to) of a sequence. to <= from: none.
struct Span {
  std::size_t sequence;
  std::int64_t from, to;
};

/// A batch's metadata in host memory.
struct AttentionStep {
  std::vector<std::int32_t> positions, token_to_seq, qo_indptr{0}, block_tables;
  std::int64_t max_blocks_per_seq = 1;

  /// Appends a sequence. A position of -1 is a padding token.
  void add(const std::vector<std::int32_t>& positions_of, const std::vector<std::int32_t>& table) {
    const auto sequence = static_cast<std::int32_t>(qo_indptr.size()) - 1;
    positions.insert(positions.end(), positions_of.begin(), positions_of.end());
    token_to_seq.insert(token_to_seq.end(), positions_of.size(), sequence);
    qo_indptr.push_back(static_cast<std::int32_t>(positions.size()));
    block_tables.insert(block_tables.end(), table.begin(), table.end());
    max_blocks_per_seq = static_cast<std::int64_t>(table.size());
  }
  void add(const Span& span, const BlockTables& tables) {
    std::vector<std::int32_t> of_span(static_cast<std::size_t>(std::max<std::int64_t>(0, span.to - span.from)));
    std::iota(of_span.begin(), of_span.end(), static_cast<std::int32_t>(span.from));
    add(of_span, tables.rows[span.sequence]);
  }

  std::int64_t num_tokens() const { return static_cast<std::int64_t>(positions.size()); }

  /// The metadata, whose arrays `upload(const std::vector<std::int32_t>&)` takes to the device.
  template <typename Upload>
  AttentionMetadata metadata(const Upload& upload) const {
    std::int64_t max_query_len = 1;
    for (std::size_t s = 0; s + 1 < qo_indptr.size(); ++s)
      max_query_len = std::max<std::int64_t>(max_query_len, qo_indptr[s + 1] - qo_indptr[s]);
    return {num_tokens(),         static_cast<std::int64_t>(qo_indptr.size()) - 1,
            max_query_len,        upload(positions),
            upload(token_to_seq), upload(qo_indptr),
            upload(block_tables), max_blocks_per_seq};
  }
};

}  // namespace warploom::test
