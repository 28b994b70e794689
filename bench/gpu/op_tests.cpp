#include "bench/gpu/op_tests.h"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr std::int64_t kHeads = 32;  // of queries, in attention

using Batch = std::vector<SequenceLength>;

Batch crowd(std::int64_t sequences, std::int64_t context) {
  return Batch(static_cast<std::size_t>(sequences), {context, 1});
}

Batch with_first(Batch batch, SequenceLength first) {
  batch.insert(batch.begin(), first);
  return batch;
}

// The words of a name before the first that begins with a digit: what tests of one sort have in common.
std::string beginning(const std::string& name) {
  std::istringstream words(name);
  std::string text;
  for (std::string word; words >> word && std::isdigit(static_cast<unsigned char>(word[0])) == 0;)
    text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::string SampleTest::name() const {
  return fmt::format("sample {} {} {} {}", rows, type == DType::f32 ? "f32" : "bf16", kind, strategy);
}

std::string AttentionTest::name() const {
  return fmt::format("attention {} {}", batch_name, type == DType::f16 ? "f16" : rounded ? "bf16 rounded" : "bf16");
}

std::string ProductTest::name() const {
  return fmt::format("product {}{} {}x{} {} tokens", type == WeightType::q4_0 ? "Q4_0" : "F16",
                     deterministic ? " deterministic" : "", rows, cols, tokens);
}

bool ProductTest::shares_weight(const ProductTest& other) const {
  return type == other.type && deterministic == other.deterministic && rows == other.rows && cols == other.cols;
}

std::vector<SampleTest> sample_tests(bool small) {
  const SampleTest strategies[] = {{.strategy = "greedy"},
                                   {.strategy = "temperature", .temperature = 0.8f},
                                   {.strategy = "top-k 50", .temperature = 0.8f, .top_k = 50},
                                   {.strategy = "top-p 0.9", .temperature = 0.8f, .top_p = 0.9f},
                                   {.strategy = "top-k 50 + top-p 0.9", .temperature = 0.8f, .top_k = 50, .top_p = 0.9f},
                                   {.strategy = "min-p 0.05", .temperature = 0.8f, .min_p = 0.05f}};
  std::vector<std::int64_t> counts = {1, 8, 63, 64};
  if (!small) counts.push_back(256);
  std::vector<SampleTest> all;
  for (const char* kind : {"peaked", "flat", "masked"})
    for (const DType type : {DType::f32, DType::bf16})
      for (const std::int64_t rows : counts)
        for (const SampleTest& strategy : strategies) {
          SampleTest& test = all.emplace_back(strategy);
          test.rows = rows, test.vocab_size = small ? 8192 : 128256;
          test.type = type, test.kind = kind;
        }
  return all;
}

std::vector<AttentionTest> attention_tests(bool small) {
  std::vector<AttentionTest> batches;
  const auto add = [&](std::string name, Batch batch, std::int64_t heads = kHeads) {
    batches.push_back({std::move(name), std::move(batch), heads});
  };
  const std::int64_t shorter = small ? 64 : 1;  // contexts are so many times shorter
  for (const auto& [sequences, context] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 512}, {1, 4096}, {1, 32768}, {1, 131072}, {8, 4096}, {32, 4096}, {33, 4096}, {64, 4096}, {256, 1024}})
    if (!small || sequences <= 33)
      add(fmt::format("decode {} x {}", sequences, context / shorter), crowd(sequences, context / shorter));
  const std::int64_t usual = 1024 / shorter, longest = 131072 / shorter, middle = 32768 / shorter;
  add(fmt::format("decode 39 x {} and 1 x {}", usual, longest), with_first(crowd(39, usual), {longest, 1}));
  for (const std::int64_t tokens : {2, 4, 16}) add(fmt::format("verify {} after {}", tokens, middle), {{middle, tokens}});
  for (const std::int64_t length : {512, 2048, 8192})
    add(fmt::format("prefill {}", length / shorter), {{length / shorter, length / shorter}});
  // A quarter of the heads: with all of them an emulator would not end in minutes.
  add(fmt::format("prefill {} of 8 heads", 8192 / shorter), {{8192 / shorter, 8192 / shorter}}, kHeads / 4);
  const std::int64_t chunk = 512 / shorter;
  add(fmt::format("prompt {} alone", chunk), {{usual, chunk}});
  add(fmt::format("64 decodes x {} alone", usual), crowd(64, usual));
  add(fmt::format("prompt {} beside 64 decodes x {}", chunk, usual), with_first(crowd(64, usual), {usual, chunk}));

  std::vector<AttentionTest> all;
  for (const auto& [type, rounded] : {std::pair{DType::f16, false}, {DType::bf16, false}, {DType::bf16, true}})
    for (const AttentionTest& batch : batches) {
      AttentionTest& test = all.emplace_back(batch);
      test.type = type, test.rounded = rounded;
    }
  return all;
}

std::vector<ProductTest> product_tests(bool small) {
  using Sizes = std::vector<std::pair<std::int64_t, std::int64_t>>;
  const Sizes sizes = small ? Sizes{{256, 256}} : Sizes{{4096, 4096}, {28672, 4096}, {4096, 14336}};
  std::vector<std::int64_t> counts = {1, 2, 4, 8, 16, 32, 64, 65, 128, 256, 257, 512};
  if (small) counts = {1, 16, 64, 65, 256, 257, 512};
  std::vector<ProductTest> all;
  for (const auto& [type, deterministic] :
       {std::pair{WeightType::q4_0, false}, {WeightType::q4_0, true}, {WeightType::f16, false}})
    for (const auto& [rows, cols] : sizes)
      for (const std::int64_t tokens : counts) all.push_back({type, deterministic, rows, cols, tokens});
  return all;
}

std::vector<std::string> op_test_names(bool small) {
  std::vector<std::string> names;
  for (const SampleTest& test : sample_tests(small)) names.push_back(test.name());
  for (const AttentionTest& test : attention_tests(small)) names.push_back(test.name());
  for (const ProductTest& test : product_tests(small)) names.push_back(test.name());
  return names;
}

bool is_wanted(const std::string& name, const std::vector<std::string>& only) {
  return only.empty() || std::any_of(only.begin(), only.end(),
                                     [&](const std::string& part) { return name.find(part) != std::string::npos; });
}

void check_only(const std::vector<std::string>& only, bool small) {
  const std::vector<std::string> names = op_test_names(small);
  for (const std::string& part : only) {
    if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return is_wanted(name, {part}); })) continue;
    std::vector<std::string> beginnings;
    for (const std::string& name : names)
      if (std::find(beginnings.begin(), beginnings.end(), beginning(name)) == beginnings.end())
        beginnings.push_back(beginning(name));
    std::string list;
    for (const std::string& text : beginnings) list += (list.empty() ? "" : ", ") + text;
    throw InvalidArgument(
        fmt::format("--only: no test has \"{}\" in its name; names begin with {} (--gpu-ops{} --list prints "
                    "all {})",
                    part, list, small ? " --small" : "", names.size()));
  }
}

}  // namespace warploom::bench
