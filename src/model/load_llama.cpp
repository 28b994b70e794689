#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <tuple>
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

  std::unique_ptr<Weight> matrix(std::span<const Part> parts, std::int64_t cols) {
    const std::vector<WeightView> all = views(parts, cols);
    auto weight = backend_.load_weight(all);
    finish(all);
    return weight;
  }
  std::unique_ptr<Weight> gated_matrix(const Part& gate, const Part& up, std::int64_t cols) {
    const std::vector<WeightView> both = views(std::vector<Part>{gate, up}, cols);
    auto weight = backend_.load_gated_weight(both[0], both[1]);
    finish(both);
    return weight;
  }

  std::unique_ptr<Weight> matrix(const Part& part, std::int64_t cols) { return matrix({&part, 1}, cols); }

  std::unique_ptr<Buffer> vector(const TensorName& name, std::int64_t count) { return upload(values(name, count)); }

  /// The parts' biases one after the other, zeros for those that the checkpoint lacks; null if it has none of them.
  std::unique_ptr<Buffer> bias(std::span<const Part> parts) {
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
  std::vector<WeightView> views(std::span<const Part> parts, std::int64_t cols) const {
    std::vector<WeightView> all;
    for (const Part& part : parts) {
      all.push_back(checkpoint_.tensor(part.name, part.rows, cols));
      all.back().source = &checkpoint_;
    }
    return all;
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
  void finish(std::span<const WeightView> views) {
    std::size_t bytes = 0;
    for (const WeightView& view : views) bytes += view.bytes();
    finish(bytes);
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
};

/// Reads one layer.
class LayerLoader {
 public:
  LayerLoader(WeightLoader& load, const Checkpoint& checkpoint, const ModelConfig& config, std::int64_t index)
      : load_(load), checkpoint_(checkpoint), config_(config), index_(index) {}

  LlamaLayer run() {
    using enum TensorRole;
    const ModelShape& shape = config_.shape;
    const LayerConfig& layer = config_.layers[static_cast<std::size_t>(index_)];
    const std::int64_t hidden = shape.hidden_size, query = layer.num_heads * shape.head_dim,
                       key = layer.num_kv_heads * shape.head_dim, intermediate = layer.intermediate_size;
    LlamaLayer out;
    out.attention_norm = load_.vector({input_norm, index_}, hidden);
    const std::vector<RoleRows> separate = {{q_proj, query}, {k_proj, key}, {v_proj, key}},
                                fused = {{qkv_proj, query + 2 * key}};
    std::tie(out.qkv, out.qkv_bias) = linear(has(qkv_proj, TensorPart::weight) ? fused : separate,
                                             has(qkv_proj, TensorPart::bias) ? fused : separate, hidden);
    std::tie(out.o_proj, out.o_proj_bias) = linear({{o_proj, hidden}}, query);
    out.mlp_norm = load_.vector({post_attention_norm, index_}, hidden);
    out.gate_up = load_.gated_matrix({{gate_proj, index_}, intermediate}, {{up_proj, index_}, intermediate}, hidden);
    out.gate_up_bias = load_.bias(parts({{gate_proj, intermediate}, {up_proj, intermediate}}, TensorPart::bias));
    std::tie(out.down, out.down_bias) = linear({{down_proj, hidden}}, intermediate);
    return out;
  }

 private:
  struct RoleRows {
    TensorRole role;
    std::int64_t rows;
  };
  using Linear = std::pair<std::unique_ptr<Weight>, std::unique_ptr<Buffer>>;

  bool has(TensorRole role, TensorPart part) const { return checkpoint_.has({role, index_, part}); }
  std::vector<WeightLoader::Part> parts(const std::vector<RoleRows>& roles, TensorPart part) const {
    std::vector<WeightLoader::Part> all;
    for (const RoleRows& r : roles) all.push_back({{r.role, index_, part}, r.rows});
    return all;
  }
  Linear linear(const std::vector<RoleRows>& weights, const std::vector<RoleRows>& biases, std::int64_t cols) {
    auto weight = load_.matrix(parts(weights, TensorPart::weight), cols);
    return {std::move(weight), load_.bias(parts(biases, TensorPart::bias))};
  }
  Linear linear(const std::vector<RoleRows>& roles, std::int64_t cols) { return linear(roles, roles, cols); }

  WeightLoader& load_;
  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const std::int64_t index_;
};

}  // namespace

std::vector<TensorName> llama_tensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  using enum TensorRole;
  std::vector<TensorName> all = {{embed_tokens}, {final_norm}, {lm_head}, {rope_factors}};
  for (std::int64_t i = 0; i < config.shape.num_layers; ++i) {
    for (const TensorRole role : {input_norm, post_attention_norm}) all.push_back({role, i});
    for (const TensorPart part : {TensorPart::weight, TensorPart::bias}) {
      for (const TensorRole role : {o_proj, gate_proj, up_proj, down_proj}) all.push_back({role, i, part});
      if (checkpoint.has({qkv_proj, i, part})) {
        all.push_back({qkv_proj, i, part});
      } else {
        for (const TensorRole role : {q_proj, k_proj, v_proj}) all.push_back({role, i, part});
      }
    }
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
  weights.embedding = load.matrix({{TensorRole::embed_tokens}, shape.vocab_size}, shape.hidden_size);
  if (!shape.tie_word_embeddings)
    weights.lm_head = load.matrix({{TensorRole::lm_head}, shape.vocab_size}, shape.hidden_size);
  weights.final_norm = load.vector({TensorRole::final_norm}, shape.hidden_size);
  for (std::int64_t i = 0; i < shape.num_layers; ++i)
    weights.layers.push_back(LayerLoader(load, checkpoint, config, i).run());
  return std::make_unique<Llama>(std::move(config), std::move(backend), std::move(weights));
}

}  // namespace warploom
