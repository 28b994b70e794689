// The same model written in other ways gives the same answers: fused projections, layers with fewer heads, heads of odd widths.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/config.h"
#include "support/float_model.h"
#include "support/generate.h"
#include "warploom/error.h"
#include "warploom/score.h"

namespace warploom {
namespace {

using test::FloatModel;
using test::FloatTensor;

std::shared_ptr<const Model> load(const std::string& bytes, CpuIsa isa = CpuIsa::automatic) {
  const test::TemporaryModel file(bytes);
  ModelOptions options;
  options.device.kind = DeviceKind::cpu;
  options.device.threads = 2;
  options.device.isa = isa;
  return Model::load(file.path(), options);
}

std::string load_error(const std::string& bytes) {
  try {
    load(bytes);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

std::vector<TokenId> some_tokens(std::size_t count) {
  std::mt19937 rng(7);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(rng() % 260);
  return tokens;
}

/// Log-probabilities and drawn tokens, with completions that share blocks until they part.
void expect_same_model(const Model& a, const Model& b, double tolerance) {
  const std::vector<TokenId> tokens = some_tokens(100);
  for (const DType type : {DType::f16, DType::f32, DType::bf16}) {
    ScoreOptions options;
    options.kv_type = type;
    const std::shared_ptr<const Model> first(std::shared_ptr<void>(), &a), second(std::shared_ptr<void>(), &b);
    const Score x = score(first, tokens, options), y = score(second, tokens, options);
    ASSERT_EQ(x.logprobs.size(), y.logprobs.size());
    for (std::size_t i = 0; i < x.logprobs.size(); ++i) EXPECT_NEAR(x.logprobs[i], y.logprobs[i], tolerance) << i;
    test::Options request = test::sampled(24);
    request.n = 3;
    request.kv_type = type;
    const std::vector<std::vector<TokenId>> prompts = {{tokens.begin(), tokens.begin() + 21},
                                                       {tokens.begin(), tokens.begin() + 40}};
    const auto p = test::generate(first, prompts, request), q = test::generate(second, prompts, request);
    ASSERT_EQ(p.size(), 6u);
    for (std::size_t i = 0; i < p.size(); ++i) EXPECT_EQ(p[i].token_ids, q[i].token_ids) << i;
  }
}

FloatTensor stacked(const std::vector<FloatTensor>& parts) {
  FloatTensor all{0, parts[0].cols, {}};
  for (const FloatTensor& part : parts) {
    all.rows += part.rows;
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
  }
  if (all.rows == 0) all.cols = all.values.size();
  return all;
}

TEST(Layouts, QueriesKeysAndValuesInOneTensor) {
  for (const std::string architecture : {"llama", "qwen2"}) {
    for (const bool biases : {false, true}) {
      FloatModel separate;
      separate.architecture = architecture;
      separate.draw(1, biases);
      FloatModel fused = separate;
      for (const std::string layer : {"blk.0.", "blk.1."}) {
        for (const std::string part : {".weight", ".bias"}) {
          if (part == ".bias" && (!biases || layer == "blk.1.")) continue;  // biases may stay apart
          std::vector<FloatTensor> parts;
          for (const std::string name : {"attn_q", "attn_k", "attn_v"}) {
            parts.push_back(fused.tensors.at(layer + name + part));
            fused.tensors.erase(layer + name + part);
          }
          fused.tensors[layer + "attn_qkv" + part] = stacked(parts);
        }
      }
      expect_same_model(*load(separate.bytes()), *load(fused.bytes()), 0.0);
    }
  }
}

TEST(Layouts, AFusedTensorBesideSeparateOnesIsRefused) {
  FloatModel model;
  model.draw(1);
  std::vector<FloatTensor> parts;
  for (const std::string name : {"attn_q", "attn_k", "attn_v"})
    parts.push_back(model.tensors.at("blk.0." + name + ".weight"));
  model.tensors["blk.0.attn_qkv.weight"] = stacked(parts);
  EXPECT_THAT(load_error(model.bytes()), testing::HasSubstr("\"blk.0.attn_k.weight\" and 2 more: not supported"));
  for (const std::string name : {"attn_q", "attn_k", "attn_v"}) model.tensors.erase("blk.0." + name + ".weight");
  model.tensors["blk.0.attn_qkv.weight"] = stacked({parts[0], parts[1]});
  EXPECT_THAT(load_error(model.bytes()), testing::HasSubstr("\"blk.0.attn_qkv.weight\" is [384, 256], not [512, 256]"));
}

// Whatever a layer leaves out, its heads lie as those of every other layer, in the layout of the GPU too.
TEST(Layouts, ALayersCacheHasTheOthersPlaces) {
  LayerConfig layer;
  layer.num_kv_heads = 3;
  const KvCacheView all{nullptr, DType::f16, 4, 7, 8, 64, 16}, few = layer_view(all, layer);
  EXPECT_EQ(few.num_kv_heads, 3);
  EXPECT_EQ(few.bytes(), all.bytes());
  for (std::int64_t head = 0; head < 3; ++head) {
    EXPECT_EQ(few.keys(2, 5, head), all.keys(2, 5, head));
    EXPECT_EQ(few.values(2, 5, head), all.values(2, 5, head));
  }
  EXPECT_EQ(all.values(2, 5, 7), (((2 * 7 + 5) * 2 + 1) * 8 + 7) * 16 * 64);
  layer.num_kv_heads = 8;
  EXPECT_EQ(layer_view(all, layer), all);
}

// Heads whose results nobody reads may as well not be there.
TEST(Layouts, LayersWithFewerHeads) {
  for (const auto& [heads, kv_heads] : std::vector<std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>>{
           {{4, 2, 4}, {2, 1, 2}}, {{2, 4, 2}, {1, 2, 1}}, {{2, 2, 4}, {1, 1, 2}}, {{4, 8, 2}, {2, 4, 1}}}) {
    FloatModel few;
    few.heads = heads;
    few.kv_heads = kv_heads;
    few.draw(3);
    FloatModel many = few;
    const std::int32_t most = std::ranges::max(heads);
    many.heads.assign(3, most);
    many.kv_heads.assign(3, most / 2);
    many.draw(4);
    for (auto& [name, tensor] : many.tensors) {
      const FloatTensor& from = few.tensors.at(name);
      if (tensor.cols == from.cols) {  // rows of further heads stay as they were drawn
        std::ranges::copy(from.values, tensor.values.begin());
        continue;
      }
      std::ranges::fill(tensor.values, 0.0f);  // the output projection reads the first heads alone
      for (std::uint64_t row = 0; row < tensor.rows; ++row)
        std::copy_n(from.values.begin() + static_cast<std::ptrdiff_t>(row * from.cols), from.cols,
                    tensor.values.begin() + static_cast<std::ptrdiff_t>(row * tensor.cols));
    }
    const auto a = load(few.bytes());
    EXPECT_EQ(a->shape().num_heads, most);
    EXPECT_EQ(a->shape().num_kv_heads, most / 2);
    expect_same_model(*a, *load(many.bytes()), 0.0);
  }
}

TEST(Layouts, ArraysOfOneNumberAndOfWidths) {
  FloatModel model;
  model.draw(5);
  EXPECT_EQ(load_error(model.bytes()), "");
  model.kv_heads = {2, 2, 2};
  EXPECT_THAT(load_error(model.bytes()), testing::HasSubstr("llama.attention.head_count_kv has 3 entries for 2 layers"));
  model.kv_heads = {2, 3};
  EXPECT_THAT(load_error(model.bytes()), testing::HasSubstr("4 attention heads cannot share 3 key-value heads evenly"));
  model.kv_heads = {2, 0};
  EXPECT_THAT(load_error(model.bytes()), testing::HasSubstr("llama.attention.head_count_kv is 0, outside [1, 4096]"));
  model.kv_heads = {2};
  EXPECT_EQ(load_error(model.bytes()), "");
}

// A head of 100 is a head of 112 whose last rows are zero and do not rotate.
TEST(Layouts, HeadsThatAreNoWholeNumberOfVectors) {
  for (const std::uint32_t width : {100u, 24u, 6u}) {
    for (const std::string architecture : {"llama", "qwen2"}) {
      FloatModel narrow;
      narrow.architecture = architecture;
      narrow.head_dim = width;
      narrow.draw(6);
      FloatModel wide = narrow;
      wide.head_dim = (width + 15) / 16 * 16;
      wide.more = [&](test::GgufWriter& file) {
        file.add(architecture + ".rope.dimension_count", width);
        file.add(architecture + ".attention.scale", static_cast<float>(1.0 / std::sqrt(static_cast<double>(width))));
      };
      for (auto& [name, tensor] : wide.tensors) {
        const FloatTensor from = tensor;
        const bool inputs = name.find("attn_output") != std::string::npos;
        const bool outputs = name.find("attn_q") != std::string::npos || name.find("attn_k") != std::string::npos ||
                             name.find("attn_v") != std::string::npos;
        if (!inputs && !outputs) continue;
        (inputs ? tensor.cols : tensor.rows) = (inputs ? from.cols : from.rows) / width * wide.head_dim;
        tensor.values.assign(tensor.rows * tensor.cols, 0.0f);
        const auto place = [&](std::uint64_t i) { return i / width * wide.head_dim + i % width; };
        for (std::uint64_t row = 0; row < from.rows; ++row)
          for (std::uint64_t col = 0; col < from.cols; ++col)
            tensor.values[(outputs ? place(row) : row) * tensor.cols + (inputs ? place(col) : col)] =
                from.values[row * from.cols + col];
      }
      const auto a = load(narrow.bytes());
      EXPECT_EQ(a->shape().head_dim, width);
      expect_same_model(*a, *load(wide.bytes()), 1e-6);
    }
  }
}

TEST(Layouts, HeadsOfOddWidthsAreEqualOnEveryInstructionSet) {
  FloatModel model;
  model.head_dim = 100;
  model.draw(8);
  const std::vector<TokenId> tokens = some_tokens(150);
  std::vector<double> first;
  for (const CpuIsa isa : available_cpu_isas()) {
    const Score got = score(load(model.bytes(), isa), tokens);
    if (first.empty()) first = got.logprobs;
    EXPECT_EQ(got.logprobs, first) << name(isa);
  }
}

}  // namespace
}  // namespace warploom
