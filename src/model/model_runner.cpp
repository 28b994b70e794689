// One step of a Llama-family transformer: tokens in, logits of the wanted tokens out.
#include <algorithm>

#include <fmt/format.h>

#include "model/llama.h"
#include "warploom/error.h"

namespace warploom {

namespace {

const float* floats(const std::unique_ptr<Buffer>& memory) {
  return memory ? static_cast<const float*>(memory->data()) : nullptr;
}

Workspace workspace(const std::unique_ptr<Buffer>& memory) { return {memory->data(), memory->bytes()}; }

/// A piece of device memory: of T, or of activations where T is void.
template <typename T>
class ActivationBuffer {
 public:
  ActivationBuffer(Backend& backend, std::int64_t count, std::size_t element = sizeof(float))
      : memory_(backend.alloc(static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * element)) {}
  T* data() const { return static_cast<T*>(memory_->data()); }
  std::uint64_t bytes() const { return memory_->bytes(); }

 private:
  std::unique_ptr<Buffer> memory_;
};

/// Where the device leaves what it drew, for `rows` rows: log-probabilities, tokens, then statuses.
class OutputBuffers {
 public:
  OutputBuffers(Backend& backend, std::int64_t rows)
      : tokens_(aligned(static_cast<std::size_t>(rows) * sizeof(double))),
        statuses_(tokens_ + aligned(static_cast<std::size_t>(rows) * sizeof(TokenId))),
        memory_(backend.create_staging_buffer(statuses_ + static_cast<std::size_t>(rows) * sizeof(SampleStatus))) {}
  void place(SampleArgs& args, bool logprobs) const {
    std::byte* at = memory_->device();
    if (logprobs) args.logprob = reinterpret_cast<double*>(at);
    args.token = reinterpret_cast<TokenId*>(at + tokens_);
    args.status = reinterpret_cast<SampleStatus*>(at + statuses_);
  }
  SampleResult result(std::size_t row, bool logprobs) const {
    const std::byte* at = memory_->host();
    SampleResult result;
    if (logprobs) result.logprob = reinterpret_cast<const double*>(at)[row];
    result.token = reinterpret_cast<const TokenId*>(at + tokens_)[row];
    result.status = reinterpret_cast<const SampleStatus*>(at + statuses_)[row];
    return result;
  }
  StagingBuffer& memory() const { return *memory_; }

 private:
  static std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }
  std::size_t tokens_, statuses_;  // bytes from the start
  std::unique_ptr<StagingBuffer> memory_;
};

/// Room for the padding tokens of decode steps.
BatchLimits padded(BatchLimits limits, const Backend& backend) {
  const std::int64_t decodes =
      backend.graph_batch_size(std::min({limits.max_tokens, limits.max_outputs, limits.max_sequences}));
  limits.max_tokens = std::max(limits.max_tokens, decodes);
  limits.max_outputs = std::max(limits.max_outputs, decodes);
  limits.max_sequences = std::max(limits.max_sequences, decodes);
  return limits;
}

class LlamaRunner final : public ModelRunner {
 public:
  LlamaRunner(const Llama& model, const BatchLimits& limits)
      : model_(model),
        backend_(model.backend()),
        shape_(model.config().shape),
        limits_(padded(limits, backend_)),
        inputs_(backend_, limits_),
        results_(backend_, limits_.max_outputs),
        residual_(backend_, limits_.max_tokens * shape_.hidden_size),
        normed_(backend_, std::max(limits_.max_tokens, limits_.max_outputs) * shape_.hidden_size, activation_bytes()),
        qkv_(backend_, limits_.max_tokens * (shape_.num_heads + 2 * shape_.num_kv_heads) * shape_.head_dim),
        attended_(backend_, limits_.max_tokens * shape_.num_heads * shape_.head_dim, activation_bytes()),
        delta_(backend_, limits_.max_tokens * shape_.hidden_size),
        gate_up_(backend_, limits_.max_tokens * 2 * shape_.intermediate_size),
        hidden_(backend_, limits_.max_tokens * shape_.intermediate_size, activation_bytes()),
        logits_(backend_, limits_.max_outputs * shape_.vocab_size),
        attention_workspace_(attention_workspace()),
        sample_workspace_(sample_workspace()) {}

  void run(const ModelInput& input, KvCache& cache, std::span<const SamplingInput> rows, bool logprobs,
           std::span<SampleResult> results) override {
    if (cache_ && cache_ != &cache)
      throw InvalidArgument("step: its KV cache is another than that of this session's first step");
    check(input, cache, rows, results);
    cache_ = &cache;
    alone([&] {
      DeviceBatch place = inputs_.pack(input, rows);
      place.key.logprobs = logprobs;
      results_.place(place.sample, logprobs);
      output_count_ = static_cast<std::int64_t>(input.outputs.size());
      backend_.run_step(place.key, inputs_.memory(), results_.memory(), [&] { record(place, cache); });
      backend_.synchronise();
      for (std::size_t i = 0; i < rows.size(); ++i) results[i] = results_.result(i, logprobs);
    });
  }

  void copy_block(KvCache& cache, std::int32_t from, std::int32_t to) override {
    alone([&] { backend_.copy_block({cache.view(), from, to}); });
  }

  void download_logits(std::span<float> out) override {
    const auto count = static_cast<std::size_t>(output_count_ * shape_.vocab_size);
    if (out.size() != count)
      throw InvalidArgument(fmt::format("download_logits: room for {} values, not {}", out.size(), count));
    alone([&] { backend_.download(out.data(), logits_.data(), count * sizeof(float)); });
  }

  std::uint64_t bytes() const override {
    return inputs_.memory().bytes() + results_.memory().bytes() + residual_.bytes() + normed_.bytes() + qkv_.bytes() +
           attended_.bytes() + delta_.bytes() + gate_up_.bytes() + hidden_.bytes() + logits_.bytes() +
           attention_workspace_->bytes() + sample_workspace_->bytes();
  }

 private:
  template <typename Work>
  void alone(const Work& work) {
    const std::lock_guard lock(backend_.step_mutex());
    work();
  }

  std::size_t activation_bytes() const { return static_cast<std::size_t>(bytes_of(backend_.activation_type())); }

  void check(const ModelInput& input, const KvCache& cache, std::span<const SamplingInput> rows,
             std::span<const SampleResult> results) const {
    const auto need = [](bool ok, const char* what, std::int64_t value, std::int64_t bound) {
      if (!ok) throw InvalidArgument(fmt::format("step: {} is {}, outside [0, {}]", what, value, bound));
    };
    const auto tokens = static_cast<std::int64_t>(input.ids.size());
    need(tokens >= 1 && tokens <= limits_.max_tokens, "number of tokens", tokens, limits_.max_tokens);
    if (input.positions.size() != input.ids.size() || input.sequences.size() != input.ids.size())
      throw InvalidArgument("step: ids, positions and sequences differ in length");
    const auto outputs = static_cast<std::int64_t>(input.outputs.size());
    need(outputs <= limits_.max_outputs, "number of outputs", outputs, limits_.max_outputs);
    const auto entries = static_cast<std::int64_t>(input.block_tables.size());
    need(entries <= limits_.max_sequences * limits_.max_blocks_per_seq, "block table entries", entries,
         limits_.max_sequences * limits_.max_blocks_per_seq);
    if (rows.size() != results.size() || (!rows.empty() && static_cast<std::int64_t>(rows.size()) != outputs))
      throw InvalidArgument(
          fmt::format("step: {} rows and {} results for {} outputs", rows.size(), results.size(), outputs));
    const std::int64_t block_size = cache.shape().block_size;
    for (std::size_t i = 0; i < input.ids.size(); ++i) {
      const std::int32_t before = i == 0 ? -1 : input.sequences[i - 1];
      const bool follows = i > 0 && input.sequences[i] == before && input.positions[i] == input.positions[i - 1] + 1;
      if (!follows && input.sequences[i] != before + 1)
        throw InvalidArgument(fmt::format("step: token {} continues neither sequence {} nor begins the next", i, before));
      need(input.ids[i] >= 0 && input.ids[i] < shape_.vocab_size, "token id", input.ids[i], shape_.vocab_size - 1);
      const std::int64_t entry = input.sequences[i] * input.max_blocks_per_seq + input.positions[i] / block_size;
      need(input.positions[i] >= 0 && input.positions[i] / block_size < input.max_blocks_per_seq && entry < entries,
           "position", input.positions[i], input.max_blocks_per_seq * block_size - 1);
      const std::int32_t block = input.block_tables[static_cast<std::size_t>(entry)];
      need(block >= 0 && block < cache.shape().num_blocks, "block", block, cache.shape().num_blocks - 1);
    }
    for (const std::int32_t output : input.outputs) need(output >= 0 && output < tokens, "output", output, tokens - 1);
  }

  // Scratch memory for any step within the limits.
  std::unique_ptr<Buffer> attention_workspace() const {
    const KvCacheView cache{nullptr,         limits_.kv_type,      shape_.num_layers, 1, shape_.num_kv_heads,
                            shape_.head_dim, limits_.kv_block_size};
    PagedAttentionArgs args = attention_args({}, cache, 0);
    args.metadata.num_tokens = limits_.max_tokens;
    args.metadata.num_seqs = limits_.max_sequences;
    args.metadata.max_query_len = limits_.max_tokens;
    args.metadata.max_blocks_per_seq = limits_.max_blocks_per_seq;
    return backend_.alloc(backend_.workspace_bytes(args));
  }
  std::unique_ptr<Buffer> sample_workspace() {
    SampleArgs args;
    results_.place(args, true);
    args.logits = logits_.data();
    args.rows = limits_.max_outputs;
    args.vocab_size = args.row_stride = shape_.vocab_size;
    return backend_.alloc(backend_.workspace_bytes(args));
  }

  RopeAppendArgs append_args(const AttentionMetadata& metadata, const KvCacheView& cache, std::int64_t layer) const {
    const QkvViews qkv = split_qkv(qkv_.data(), shape_.num_heads, shape_.num_kv_heads, shape_.head_dim);
    return {qkv.queries, qkv.keys, qkv.values, shape_.num_heads, model_.rope->view(), metadata, cache, layer};
  }

  PagedAttentionArgs attention_args(const AttentionMetadata& metadata, const KvCacheView& cache, std::int64_t layer) const {
    PagedAttentionArgs args;
    args.queries = split_qkv(qkv_.data(), shape_.num_heads, shape_.num_kv_heads, shape_.head_dim).queries;
    args.num_heads = shape_.num_heads;
    args.softmax_scale = model_.config().softmax_scale;
    args.window = model_.config().sliding_window;
    args.metadata = metadata;
    args.cache = cache;
    args.layer = layer;
    args.out = {attended_.data(), backend_.activation_type(), shape_.num_heads * shape_.head_dim};
    return args;
  }

  void record(const DeviceBatch& place, KvCache& cache) {
    const std::int64_t tokens = place.metadata.num_tokens;
    backend_.embed({model_.embedding.get(), place.ids, tokens, residual_.data()});
    const float* delta = nullptr;
    for (std::int64_t i = 0; i < shape_.num_layers; ++i) {
      const LlamaLayer& layer = model_.layers[static_cast<std::size_t>(i)];
      norm(layer.attention_norm, delta, nullptr, tokens);
      backend_.matmul({layer.qkv.get(), normed_.data(), floats(layer.qkv_bias), tokens, qkv_.data()});
      backend_.rope_append(append_args(place.metadata, cache.view(), i));
      PagedAttentionArgs attention = attention_args(place.metadata, cache.view(), i);
      attention.workspace = workspace(attention_workspace_);
      backend_.paged_attention(attention);
      backend_.matmul({layer.output.get(), attended_.data(), floats(layer.output_bias), tokens, delta_.data()});
      norm(layer.ffn_norm, delta_.data(), nullptr, tokens);
      backend_.matmul({layer.gate_up.get(), normed_.data(), floats(layer.gate_up_bias), tokens, gate_up_.data()});
      backend_.swiglu({gate_up_.data(), tokens, shape_.intermediate_size, hidden_.data()});
      backend_.matmul({layer.down.get(), hidden_.data(), floats(layer.down_bias), tokens, delta_.data()});
      delta = delta_.data();
    }
    if (place.key.outputs == 0) return;
    norm(model_.output_norm, delta, place.outputs, place.key.outputs);
    backend_.matmul({&model_.output_matrix(), normed_.data(), nullptr, place.key.outputs, logits_.data()});
    if (place.sample.rows > 0) sample(place.sample);
  }

  void sample(SampleArgs args) {
    args.logits = logits_.data();
    args.vocab_size = args.row_stride = shape_.vocab_size;
    args.workspace = workspace(sample_workspace_);
    backend_.sample(args);
  }

  void norm(const std::unique_ptr<Buffer>& weight, const float* delta, const std::int32_t* rows, std::int64_t count) {
    backend_.rms_norm({residual_.data(), delta, floats(weight), rows, count, shape_.hidden_size,
                       model_.config().norm_epsilon, normed_.data()});
  }

  const Llama& model_;
  Backend& backend_;
  const ModelShape& shape_;
  BatchLimits limits_;
  InputBuffers inputs_;
  OutputBuffers results_;
  ActivationBuffer<float> residual_;
  ActivationBuffer<void> normed_;
  ActivationBuffer<float> qkv_;
  ActivationBuffer<void> attended_;
  ActivationBuffer<float> delta_, gate_up_;
  ActivationBuffer<void> hidden_;
  ActivationBuffer<float> logits_;
  std::unique_ptr<Buffer> attention_workspace_, sample_workspace_;
  const KvCache* cache_ = nullptr;  // of the first step, and so of all
  std::int64_t output_count_ = 0;
};

}  // namespace

std::unique_ptr<ModelRunner> create_runner(const Transformer& model, const BatchLimits& limits) {
  return std::make_unique<LlamaRunner>(dynamic_cast<const Llama&>(model), limits);
}

}  // namespace warploom
