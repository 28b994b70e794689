
#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "formats/gguf.h"
#include "formats/quants.h"
#include "model/llama.h"
#include "warploom/error.h"

namespace warploom {

namespace {

/// Reads tensors of one file onto one backend and reports how far it is.
class WeightLoader {
 public:
  WeightLoader(const GgufFile& file, Backend& backend, const std::function<void(double)>& progress)
      : file_(file), backend_(backend), progress_(progress) {
    for (const GgufTensor& tensor : file.tensors()) total_ += tensor.bytes;
  }

  struct Part {
    std::string name;
    std::int64_t rows;
  };

  std::unique_ptr<Weight> matrix(std::initializer_list<Part> parts, std::int64_t cols) {
    std::vector<WeightView> views;
    for (const Part& part : parts) views.push_back(file_.matrix(part.name, part.rows, cols));
    auto weight = backend_.load_weight(views);
    for (const WeightView& view : views) finish(view);
    return weight;
  }

  std::unique_ptr<Buffer> vector(const std::string& name, std::int64_t count) {
    std::vector<float> host(static_cast<std::size_t>(count));
    read(name, host);
    return upload(host);
  }

  /// The parts' biases one after the other, zeros for those that the file lacks; null where it has none of them.
  std::unique_ptr<Buffer> bias(std::initializer_list<Part> parts) {
    std::vector<float> host;
    bool any = false;
    for (const Part& part : parts) {
      const std::size_t at = host.size();
      host.resize(at + static_cast<std::size_t>(part.rows), 0.0f);
      if (!file_.find_tensor(part.name)) continue;
      any = true;
      read(part.name, std::span(host).subspan(at));
    }
    return any ? upload(host) : nullptr;
  }

 private:
  void read(const std::string& name, std::span<float> out) {
    const WeightView view = file_.matrix(name, 1, static_cast<std::int64_t>(out.size()));
    dequantize_row(view, 0, out);
    finish(view);
  }
  std::unique_ptr<Buffer> upload(const std::vector<float>& host) {
    auto memory = backend_.alloc(host.size() * sizeof(float));
    backend_.upload(memory->data(), host.data(), host.size() * sizeof(float));
    return memory;
  }
  void finish(const WeightView& view) {
    file_.release(view);
    done_ += view.bytes();
    if (progress_) progress_(total_ ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0);
  }

  const GgufFile& file_;
  Backend& backend_;
  const std::function<void(double)>& progress_;
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
};

LlamaLayer load_layer(WeightLoader& load, const ModelShape& shape, std::int64_t index) {
  const auto name = [index](const char* rest) { return fmt::format("blk.{}.{}", index, rest); };
  const std::int64_t query = shape.num_heads * shape.head_dim, key = shape.num_kv_heads * shape.head_dim;
  LlamaLayer layer;
  layer.attention_norm = load.vector(name("attn_norm.weight"), shape.hidden_size);
  layer.qkv = load.matrix({{name("attn_q.weight"), query}, {name("attn_k.weight"), key}, {name("attn_v.weight"), key}},
                          shape.hidden_size);
  layer.qkv_bias = load.bias({{name("attn_q.bias"), query}, {name("attn_k.bias"), key}, {name("attn_v.bias"), key}});
  layer.o_proj = load.matrix({{name("attn_output.weight"), shape.hidden_size}}, query);
  layer.o_proj_bias = load.bias({{name("attn_output.bias"), shape.hidden_size}});
  layer.mlp_norm = load.vector(name("ffn_norm.weight"), shape.hidden_size);
  layer.gate_up =
      load.matrix({{name("ffn_gate.weight"), shape.intermediate_size}, {name("ffn_up.weight"), shape.intermediate_size}},
                  shape.hidden_size);
  layer.gate_up_bias =
      load.bias({{name("ffn_gate.bias"), shape.intermediate_size}, {name("ffn_up.bias"), shape.intermediate_size}});
  layer.down = load.matrix({{name("ffn_down.weight"), shape.hidden_size}}, shape.intermediate_size);
  layer.down_bias = load.bias({{name("ffn_down.bias"), shape.hidden_size}});
  return layer;
}

}  // namespace

std::unique_ptr<DecoderModel> load_decoder_model(const GgufFile& file, std::unique_ptr<Backend> backend,
                                                 const std::function<void(double)>& progress) {
  ModelConfig config = read_config(file);
  const ModelShape& shape = config.shape;
  LlamaWeights weights;
  weights.rope = backend->load_rope(config.rope, config.rope_factors.empty() ? nullptr : config.rope_factors.data());
  WeightLoader load(file, *backend, progress);
  weights.embedding = load.matrix({{"token_embd.weight", shape.vocab_size}}, shape.hidden_size);
  if (!config.tie_word_embeddings) weights.lm_head = load.matrix({{"output.weight", shape.vocab_size}}, shape.hidden_size);
  weights.final_norm = load.vector("output_norm.weight", shape.hidden_size);
  for (std::int64_t i = 0; i < shape.num_layers; ++i) weights.layers.push_back(load_layer(load, shape, i));
  return std::make_unique<Llama>(std::move(config), std::move(backend), std::move(weights));
}

}  // namespace warploom
