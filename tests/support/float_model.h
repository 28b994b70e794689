// A random Llama in f32 whose tensors a test can change before they are written to a GGUF file.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/gguf_writer.h"
#include "support/tiny_model.h"

namespace warploom::test {

struct FloatTensor {
  std::uint64_t rows = 0, cols = 0;  // rows 0: a vector
  std::vector<float> values;
};

struct FloatModel {
  std::string architecture = "llama";
  std::uint32_t dim = 256, head_dim = 64, ffn = 96, context = 256;
  std::vector<std::int32_t> heads = {4, 4}, kv_heads = {2, 2};  // of each layer
  std::map<std::string, FloatTensor> tensors;
  std::function<void(GgufWriter&)> more;

  /// Fills the tensors.
  void draw(std::uint32_t seed, bool biases = false) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    const auto add = [&](const std::string& name, std::uint64_t rows, std::uint64_t cols, float mean, float deviation) {
      FloatTensor& tensor = tensors[name];
      tensor = {rows, cols, std::vector<float>(std::max<std::uint64_t>(rows, 1) * cols)};
      for (float& value : tensor.values) value = mean + deviation * normal(rng);
    };
    const auto matrix = [&](const std::string& name, std::uint64_t rows, std::uint64_t cols) {
      add(name + ".weight", rows, cols, 0.0f, 1.0f / std::sqrt(static_cast<float>(cols)));
      if (biases) add(name + ".bias", 0, rows, 0.0f, 0.1f);
    };
    add("token_embd.weight", 262, dim, 0.0f, 1.0f);
    add("output_norm.weight", 0, dim, 1.0f, 0.1f);
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const std::string b = "blk." + std::to_string(i) + ".";
      const std::uint64_t query = static_cast<std::uint64_t>(heads[i]) * head_dim,
                          key = static_cast<std::uint64_t>(kv_heads[i]) * head_dim;
      add(b + "attn_norm.weight", 0, dim, 1.0f, 0.1f);
      add(b + "ffn_norm.weight", 0, dim, 1.0f, 0.1f);
      matrix(b + "attn_q", query, dim), matrix(b + "attn_k", key, dim), matrix(b + "attn_v", key, dim);
      matrix(b + "attn_output", dim, query);
      matrix(b + "ffn_gate", ffn, dim), matrix(b + "ffn_up", ffn, dim), matrix(b + "ffn_down", dim, ffn);
    }
  }

  std::string bytes() const {
    GgufWriter file;
    const std::string a = architecture + ".";
    file.add("general.architecture", architecture);
    file.add(a + "block_count", static_cast<std::uint32_t>(heads.size()));
    file.add(a + "context_length", context);
    file.add(a + "embedding_length", dim);
    file.add(a + "feed_forward_length", ffn);
    file.add(a + "attention.head_count", heads);
    file.add(a + "attention.head_count_kv", kv_heads);
    file.add(a + "attention.key_length", head_dim);
    file.add(a + "attention.value_length", head_dim);
    file.add(a + "attention.layer_norm_rms_epsilon", 1e-5f);
    if (more) more(file);
    add_tiny_tokenizer(file);
    for (const auto& [name, tensor] : tensors) {
      std::vector<std::byte> data(tensor.values.size() * sizeof(float));
      std::memcpy(data.data(), tensor.values.data(), data.size());
      file.add_tensor(name, 0, tensor.rows > 0 ? std::vector{tensor.rows, tensor.cols} : std::vector{tensor.cols}, data);
    }
    return file.bytes();
  }
};

}  // namespace warploom::test
