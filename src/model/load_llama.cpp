#include <initializer_list>
#include <utility>

#include "checkpoint/checkpoint.h"
#include "checkpoint/quants.h"
#include "model/llama.h"

namespace warploom {

namespace {

/// Reads tensors of one checkpoint onto one backend and reports how far it is.
class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, Backend& backend, const std::function<void(double)>& progress)
      : checkpoint_(checkpoint), backend_(backend), progress_(progress), total_(checkpoint.tensor_bytes()) {}

  struct Part {
    TensorName name;
    std::int64_t rows;
  };

  std::unique_ptr<Weight> matrix(std::initializer_list<Part> parts, std::int64_t cols) {
    std::vector<WeightView> views;
    for (const Part& part : parts) views.push_back(checkpoint_.tensor(part.name, part.rows, cols));
    auto weight = backend_.load_weight(views);
    for (const WeightView& view : views) finish(view);
    return weight;
  }

  std::unique_ptr<Buffer> vector(const TensorName& name, std::int64_t count) {
    std::vector<float> host(static_cast<std::size_t>(count));
    read(name, host);
    return upload(host);
  }

  /// The parts' biases one after the other, zeros for those that the checkpoint lacks; null if it has none of them.
  std::unique_ptr<Buffer> bias(std::initializer_list<Part> parts) {
    std::vector<float> host;
    bool any = false;
    for (const Part& part : parts) {
      const std::size_t at = host.size();
      host.resize(at + static_cast<std::size_t>(part.rows), 0.0f);
      if (!checkpoint_.has(part.name)) continue;
      any = true;
      read(part.name, std::span(host).subspan(at));
    }
    return any ? upload(host) : nullptr;
  }

 private:
  void read(const TensorName& name, std::span<float> out) {
    const WeightView view = checkpoint_.tensor(name, 1, static_cast<std::int64_t>(out.size()));
    dequantize_row(view, 0, out);
    finish(view);
  }
  std::unique_ptr<Buffer> upload(const std::vector<float>& host) {
    auto memory = backend_.alloc(host.size() * sizeof(float));
    backend_.upload(memory->data(), host.data(), host.size() * sizeof(float));
    return memory;
  }
  void finish(const WeightView& view) {
    checkpoint_.release(view);
    done_ += view.bytes();
    if (progress_) progress_(total_ ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0);
  }

  const Checkpoint& checkpoint_;
  Backend& backend_;
  const std::function<void(double)>& progress_;
  const std::uint64_t total_;
  std::uint64_t done_ = 0;
};

LlamaLayer load_layer(WeightLoader& load, const ModelConfig& config, std::int64_t index) {
  const auto weight = [index](TensorRole role) { return TensorName{role, index}; };
  const auto bias = [index](TensorRole role) { return TensorName{role, index, TensorPart::bias}; };
  using enum TensorRole;
  const ModelShape& shape = config.shape;
  const std::int64_t query = shape.num_heads * shape.head_dim, key = shape.num_kv_heads * shape.head_dim;
  const std::int64_t intermediate = config.layers[static_cast<std::size_t>(index)].intermediate_size;
  LlamaLayer layer;
  layer.attention_norm = load.vector(weight(input_norm), shape.hidden_size);
  layer.qkv = load.matrix({{weight(q_proj), query}, {weight(k_proj), key}, {weight(v_proj), key}}, shape.hidden_size);
  layer.qkv_bias = load.bias({{bias(q_proj), query}, {bias(k_proj), key}, {bias(v_proj), key}});
  layer.o_proj = load.matrix({{weight(o_proj), shape.hidden_size}}, query);
  layer.o_proj_bias = load.bias({{bias(o_proj), shape.hidden_size}});
  layer.mlp_norm = load.vector(weight(post_attention_norm), shape.hidden_size);
  layer.gate_up = load.matrix({{weight(gate_proj), intermediate}, {weight(up_proj), intermediate}}, shape.hidden_size);
  layer.gate_up_bias = load.bias({{bias(gate_proj), intermediate}, {bias(up_proj), intermediate}});
  layer.down = load.matrix({{weight(down_proj), shape.hidden_size}}, intermediate);
  layer.down_bias = load.bias({{bias(down_proj), shape.hidden_size}});
  return layer;
}

}  // namespace

std::unique_ptr<DecoderModel> load_llama(const Checkpoint& checkpoint, ModelConfig config, std::unique_ptr<Backend> backend,
                                         const std::function<void(double)>& progress) {
  const ModelShape& shape = config.shape;
  LlamaWeights weights;
  for (const RopeConfig& rope : config.ropes)
    weights.ropes.push_back(backend->load_rope(rope.params, rope.factors.empty() ? nullptr : rope.factors.data()));
  WeightLoader load(checkpoint, *backend, progress);
  weights.embedding = load.matrix({{{TensorRole::embed_tokens}, shape.vocab_size}}, shape.hidden_size);
  if (!shape.tie_word_embeddings)
    weights.lm_head = load.matrix({{{TensorRole::lm_head}, shape.vocab_size}}, shape.hidden_size);
  weights.final_norm = load.vector({TensorRole::final_norm}, shape.hidden_size);
  for (std::int64_t i = 0; i < shape.num_layers; ++i) weights.layers.push_back(load_layer(load, config, i));
  return std::make_unique<Llama>(std::move(config), std::move(backend), std::move(weights));
}

}  // namespace warploom
