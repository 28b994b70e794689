// A random Llama of some hundred kilobytes, as a GGUF file's bytes. Its text is noise; its arithmetic is a real model's.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backend/weights.h"
#include "support/gguf_writer.h"
#include "tokenizer/bpe.h"

namespace warploom::test {

struct TinyModel {
  WeightType type = WeightType::q4_1;  // of matrices with rows of 256 and more whole blocks
  std::string architecture = "llama";
  std::uint32_t layers = 2, heads = 4, kv_heads = 2, context = 256, dim = 256, ffn = 256;
  bool tied = true, biases = false;
  std::uint32_t seed = 1;
  std::uint32_t version = 3;
  std::string chat_template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
      "'\n'}}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  std::function<void(GgufWriter&)> more = {};  // adds keys and tensors
};

/// 262 tokens: bytes, a few merges, two special tokens. Returns how many.
inline std::uint64_t add_tiny_tokenizer(GgufWriter& file, const std::string& chat_template = TinyModel().chat_template) {
  // The library's own alphabet will do: tests/text/tokenizations_test.cpp compares it with another implementation's.
  std::vector<std::string> tokens;
  for (const char32_t c : byte_alphabet())
    tokens.push_back(c < 128 ? std::string(1, static_cast<char>(c))
                             : std::string{static_cast<char>(0xc0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))});
  std::vector<std::int32_t> types(256, 1);
  for (const char* merged : {"th", "he", "in", "the"}) tokens.push_back(merged), types.push_back(1);
  for (const char* special : {"<|im_start|>", "<|im_end|>"}) tokens.push_back(special), types.push_back(3);
  file.add("tokenizer.ggml.model", "gpt2");
  file.add("tokenizer.ggml.pre", "smollm");
  file.add("tokenizer.ggml.tokens", tokens);
  file.add("tokenizer.ggml.token_type", types);
  file.add("tokenizer.ggml.merges", std::vector<std::string>{"t h", "h e", "i n", "th e"});
  file.add("tokenizer.ggml.bos_token_id", std::uint32_t{260});
  file.add("tokenizer.ggml.eos_token_id", std::uint32_t{261});
  file.add("tokenizer.ggml.add_bos_token", false);
  file.add("tokenizer.chat_template", chat_template);
  return tokens.size();
}

inline std::string tiny_model(const TinyModel& m = {}) {
  std::mt19937 rng(m.seed);
  GgufWriter file(m.version);
  const std::string a = m.architecture + ".";
  file.add("general.architecture", m.architecture);
  file.add(a + "block_count", m.layers);
  file.add(a + "context_length", m.context);
  file.add(a + "embedding_length", m.dim);
  file.add(a + "feed_forward_length", m.ffn);
  file.add(a + "attention.head_count", m.heads);
  file.add(a + "attention.head_count_kv", m.kv_heads);
  file.add(a + "attention.layer_norm_rms_epsilon", 1e-5f);
  if (m.more) m.more(file);
  const std::uint64_t vocab_size = add_tiny_tokenizer(file, m.chat_template);

  const auto matrix = [&](const std::string& name, std::uint64_t rows, std::uint64_t cols) {
    const RandomWeight weight(rng, m.type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols));
    file.add_tensor(name, raw_type(m.type), {rows, cols}, weight.bytes);
  };
  const auto vector = [&](const std::string& name, std::uint64_t count) {
    std::normal_distribution<float> normal(1.0f, 0.1f);
    std::vector<std::byte> bytes(count * sizeof(float));
    for (std::uint64_t i = 0; i < count; ++i) {
      const float v = normal(rng);
      std::memcpy(bytes.data() + i * sizeof v, &v, sizeof v);
    }
    file.add_tensor(name, 0, {count}, bytes);
  };
  const std::uint64_t head_dim = m.dim / m.heads, key = m.kv_heads * head_dim;
  matrix("token_embd.weight", vocab_size, m.dim);
  if (!m.tied) matrix("output.weight", vocab_size, m.dim);
  vector("output_norm.weight", m.dim);
  for (std::uint32_t i = 0; i < m.layers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    vector(b + "attn_norm.weight", m.dim);
    matrix(b + "attn_q.weight", m.dim, m.dim);
    matrix(b + "attn_k.weight", key, m.dim);
    matrix(b + "attn_v.weight", key, m.dim);
    if (m.biases) vector(b + "attn_q.bias", m.dim), vector(b + "attn_k.bias", key), vector(b + "attn_v.bias", key);
    matrix(b + "attn_output.weight", m.dim, m.dim);
    vector(b + "ffn_norm.weight", m.dim);
    matrix(b + "ffn_gate.weight", m.ffn, m.dim);
    matrix(b + "ffn_up.weight", m.ffn, m.dim);
    matrix(b + "ffn_down.weight", m.dim, m.ffn);
  }
  return file.bytes();
}

}  // namespace warploom::test
