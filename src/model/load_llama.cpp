#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>

#include "checkpoint/checkpoint.h"
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
    std::size_t bytes = 0;
    for (const Part& part : parts) {
      views.push_back(checkpoint_.tensor(part.name, part.rows, cols));
      bytes += views.back().bytes();
    }
    std::byte* to = memory_for(bytes);
    for (WeightView& view : views) {
      checkpoint_.read(view, to);
      view.data = to;
      checkpoint_.check_numbers(view);
      to += view.bytes();
    }
    auto weight = backend_.load_weight(views);
    finish(bytes);
    return weight;
  }

  std::unique_ptr<Buffer> vector(const TensorName& name, std::int64_t count) { return upload(values(name, count)); }

  /// The parts' biases one after the other, zeros for those that the checkpoint lacks; null if it has none of them.
  std::unique_ptr<Buffer> bias(std::initializer_list<Part> parts) {
    std::vector<float> host;
    bool any = false;
    for (const Part& part : parts) {
      const std::size_t at = host.size();
      host.resize(at + static_cast<std::size_t>(part.rows), 0.0f);
      if (!checkpoint_.has(part.name)) continue;
      any = true;
      std::ranges::copy(values(part.name, part.rows), host.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return any ? upload(host) : nullptr;
  }

 private:
  /// Kept for the next matrix, unless that is much smaller.
  std::byte* memory_for(std::size_t bytes) {
    if (bytes > memory_bytes_ || bytes < memory_bytes_ / 8) {
      memory_.reset();
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      memory_bytes_ = bytes;
    }
    return memory_.get();
  }
  std::vector<float> values(const TensorName& name, std::int64_t count) {
    std::vector<float> all = checkpoint_.values(name, count);
    finish(checkpoint_.tensor(name, 1, count).bytes());
    return all;
  }
  std::unique_ptr<Buffer> upload(const std::vector<float>& host) {
    auto memory = backend_.alloc(host.size() * sizeof(float));
    backend_.upload(memory->data(), host.data(), host.size() * sizeof(float));
    return memory;
  }
  void finish(std::size_t bytes) {
    done_ += bytes;
    if (progress_) progress_(total_ ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0);
  }

  const Checkpoint& checkpoint_;
  Backend& backend_;
  const std::function<void(double)>& progress_;
  const std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::unique_ptr<std::byte[]> memory_;
  std::size_t memory_bytes_ = 0;
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

std::vector<TensorName> llama_tensors(const ModelConfig& config) {
  using enum TensorRole;
  std::vector<TensorName> all = {{embed_tokens}, {final_norm}, {lm_head}, {rope_factors}};
  for (std::int64_t i = 0; i < config.shape.num_layers; ++i) {
    for (const TensorRole role : {input_norm, post_attention_norm}) all.push_back({role, i});
    for (const TensorRole role : {q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj})
      for (const TensorPart part : {TensorPart::weight, TensorPart::bias}) all.push_back({role, i, part});
  }
  return all;
}

std::unique_ptr<DecoderModel> load_llama(const Checkpoint& checkpoint, ModelConfig config, std::unique_ptr<Backend> backend,
                                         const std::function<void(double)>& progress) {
  const ModelShape& shape = config.shape;
  LlamaWeights weights;
  for (const RopeConfig& rope : config.ropes)
    weights.ropes.push_back(backend->load_rope(rope.params, rope.factors.empty() ? nullptr : rope.factors.data()));
  WeightLoader load(checkpoint, *backend, progress);
  weights.embedding = load.matrix({{{TensorRole::embed_tokens}, shape.vocab_size}}, shape.hidden_size);
  if (!config.tie_word_embeddings)
    weights.lm_head = load.matrix({{{TensorRole::lm_head}, shape.vocab_size}}, shape.hidden_size);
  weights.final_norm = load.vector({TensorRole::final_norm}, shape.hidden_size);
  for (std::int64_t i = 0; i < shape.num_layers; ++i) weights.layers.push_back(load_layer(load, config, i));
  return std::make_unique<Llama>(std::move(config), std::move(backend), std::move(weights));
}

}  // namespace warploom
