// The tests of `warploom-bench --gpu-ops` by their names and sizes, which are known where there is no GPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "warploom/types.h"

namespace warploom::bench {

/// A call of cuda::sample().
struct SampleTest {
  std::int64_t rows = 1, vocab_size = 0;
  DType type = DType::f32;
  /// "peaked", "flat", or "masked": all but 1,000 tokens have one value far below the rest, as grammars and padded vocabularies leave
  /// them.
  std::string kind = "peaked";
  std::string strategy = "greedy";
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 1, min_p = 0;

  std::string name() const;
};

/// Of a batch; the last `tokens` of the context attend.
struct SequenceLength {
  std::int64_t context = 0, tokens = 1;
};

/// A call of cuda::paged_attention().
struct AttentionTest {
  std::string batch_name;
  std::vector<SequenceLength> batch;
  std::int64_t heads = 0;  // of queries
  DType type = DType::f16;
  bool rounded = false;  // to bf16

  std::string name() const;
};

/// A product of the CUDA backend.
struct ProductTest {
  WeightType type = WeightType::q4_0;
  bool deterministic = false;
  std::int64_t rows = 0, cols = 0, tokens = 1;

  std::string name() const;
  /// Whether both read the same weight, in the same way.
  bool shares_weight(const ProductTest& other) const;
};

/// All of them in the order in which they run. small: sizes that take an emulator seconds.
std::vector<SampleTest> sample_tests(bool small);
std::vector<AttentionTest> attention_tests(bool small);
std::vector<ProductTest> product_tests(bool small);
std::vector<std::string> op_test_names(bool small);

/// Whether a test is among those asked for: `only` holds parts of names; empty: all are.
bool is_wanted(const std::string& name, const std::vector<std::string>& only);

/// Throws InvalidArgument, which says what the names begin with, if a part is in no test's name.
void check_only(const std::vector<std::string>& only, bool small);

}  // namespace warploom::bench
