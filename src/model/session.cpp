// One step of a Llama-family transformer: tokens in, logits of the wanted tokens out.
#include <algorithm>

#include <fmt/format.h>

#include "model/llama.h"
#include "warploom/error.h"

namespace warploom {

void StepInput::clear() {
  ids.clear();
  positions.clear();
  sequences.clear();
  block_tables.clear();
  outputs.clear();
  table_stride = 0;
}

namespace {

const float* floats(const std::unique_ptr<DeviceMemory>& memory) {
  return memory ? static_cast<const float*>(memory->data()) : nullptr;
}

/// A typed piece of device memory.
template <typename T>
class StepBuffer {
 public:
  StepBuffer(Backend& backend, std::int64_t count)
      : memory_(backend.alloc(static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * sizeof(T))) {}
  T* data() const { return static_cast<T*>(memory_->data()); }
  std::uint64_t bytes() const { return memory_->bytes(); }

 private:
  std::unique_ptr<DeviceMemory> memory_;
};

class LlamaSession final : public TransformerSession {
 public:
  LlamaSession(const Llama& model, const Limits& limits)
      : model_(model),
        backend_(model.backend()),
        shape_(model.config().shape),
        limits_(limits),
        ids_(backend_, limits.max_tokens),
        positions_(backend_, limits.max_tokens),
        sequences_(backend_, limits.max_tokens),
        tables_(backend_, limits.max_sequences * limits.table_stride),
        outputs_(backend_, limits.max_outputs),
        residual_(backend_, limits.max_tokens * shape_.dim),
        normed_(backend_, std::max(limits.max_tokens, limits.max_outputs) * shape_.dim),
        qkv_(backend_, limits.max_tokens * (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim),
        attended_(backend_, limits.max_tokens * shape_.heads * shape_.head_dim),
        delta_(backend_, limits.max_tokens * shape_.dim),
        gate_up_(backend_, limits.max_tokens * 2 * shape_.ffn_dim),
        hidden_(backend_, limits.max_tokens * shape_.ffn_dim),
        logits_(backend_, limits.max_outputs * shape_.vocab) {}

  void forward(const StepInput& input, KvStorage& cache) override {
    check(input, cache);
    guarded([&] {
      send(ids_, input.ids);
      send(positions_, input.positions);
      send(sequences_, input.sequences);
      send(tables_, input.block_tables);
      send(outputs_, input.outputs);
      output_count_ = static_cast<std::int64_t>(input.outputs.size());
      const auto tokens = static_cast<std::int64_t>(input.ids.size());
      backend_.run_step({tokens, output_count_}, [&] { record(tokens, input.table_stride, cache); });
      backend_.synchronise();
    });
  }

  void sample(std::span<const SampleRow> rows, const SampleWants& wants, std::span<SampleResult> results) override {
    if (static_cast<std::int64_t>(rows.size()) > output_count_ || rows.size() != results.size())
      throw InvalidArgument(fmt::format("sample: {} rows and {} results for {} rows of logits", rows.size(), results.size(), output_count_));
    guarded([&] {
      backend_.sample({logits_.data(), shape_.vocab, rows, wants, results});
      backend_.synchronise();
    });
  }

  void copy_block(KvStorage& cache, std::int32_t from, std::int32_t to) override {
    guarded([&] { backend_.copy_block({&cache, from, to}); });
  }

  void download_logits(std::span<float> out) override {
    const auto count = static_cast<std::size_t>(output_count_ * shape_.vocab);
    if (out.size() != count) throw InvalidArgument(fmt::format("download_logits: room for {} values, not {}", out.size(), count));
    guarded([&] {
      backend_.synchronise();
      backend_.download(out.data(), logits_.data(), count * sizeof(float));
    });
  }

  std::uint64_t bytes() const override {
    return ids_.bytes() + positions_.bytes() + sequences_.bytes() + tables_.bytes() + outputs_.bytes() + residual_.bytes() +
           normed_.bytes() + qkv_.bytes() + attended_.bytes() + delta_.bytes() + gate_up_.bytes() + hidden_.bytes() + logits_.bytes();
  }

 private:
  // After a device failure nothing on the device can be trusted any more.
  template <typename Work>
  void guarded(const Work& work) {
    if (failed_) throw BackendError("the device failed in an earlier step; load the model again");
    const std::lock_guard lock(backend_.step_mutex());
    try {
      work();
    } catch (const BackendError&) {
      failed_ = true;
      throw;
    }
  }

  template <typename T>
  void send(const StepBuffer<T>& buffer, const std::vector<T>& host) {
    if (!host.empty()) backend_.upload(buffer.data(), host.data(), host.size() * sizeof(T));
  }

  void check(const StepInput& input, const KvStorage& cache) const {
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
    need(entries <= limits_.max_sequences * limits_.table_stride, "block table entries", entries, limits_.max_sequences * limits_.table_stride);
    for (std::size_t i = 0; i < input.ids.size(); ++i) {
      need(input.ids[i] >= 0 && input.ids[i] < shape_.vocab, "token id", input.ids[i], shape_.vocab - 1);
      const std::int64_t entry = input.sequences[i] * input.table_stride + input.positions[i] / kKvBlockTokens;
      need(input.positions[i] >= 0 && input.positions[i] / kKvBlockTokens < input.table_stride && entry < entries, "position",
           input.positions[i], input.table_stride * kKvBlockTokens - 1);
      const std::int32_t block = input.block_tables[static_cast<std::size_t>(entry)];
      need(block >= 0 && block < cache.shape().blocks, "block", block, cache.shape().blocks - 1);
    }
    for (const std::int32_t output : input.outputs) need(output >= 0 && output < tokens, "output", output, tokens - 1);
  }

  void record(std::int64_t tokens, std::int64_t table_stride, KvStorage& cache) {
    const ModelConfig& config = model_.config();
    const StepLayout layout{tokens, positions_.data(), sequences_.data(), tables_.data(), table_stride};
    backend_.embed({model_.embedding.get(), ids_.data(), tokens, residual_.data()});
    const float* delta = nullptr;
    for (std::int64_t i = 0; i < shape_.layers; ++i) {
      const LlamaLayer& layer = model_.layers[static_cast<std::size_t>(i)];
      norm(layer.attention_norm, delta, nullptr, tokens);
      backend_.matmul({layer.qkv.get(), normed_.data(), floats(layer.qkv_bias), tokens, qkv_.data()});
      const float* factors = config.rope_factors.empty() ? nullptr : config.rope_factors.data();
      backend_.rope_append({qkv_.data(), shape_.heads, config.rope, factors, layout, &cache, i});
      backend_.attention(
          {qkv_.data(), shape_.heads, config.attention_scale, config.sliding_window, layout, &cache, i, attended_.data()});
      backend_.matmul({layer.output.get(), attended_.data(), floats(layer.output_bias), tokens, delta_.data()});
      norm(layer.ffn_norm, delta_.data(), nullptr, tokens);
      backend_.matmul({layer.gate_up.get(), normed_.data(), floats(layer.gate_up_bias), tokens, gate_up_.data()});
      backend_.swiglu({gate_up_.data(), tokens, shape_.ffn_dim, hidden_.data()});
      backend_.matmul({layer.down.get(), hidden_.data(), floats(layer.down_bias), tokens, delta_.data()});
      delta = delta_.data();
    }
    if (output_count_ == 0) return;
    norm(model_.output_norm, delta, outputs_.data(), output_count_);
    backend_.matmul({&model_.output_matrix(), normed_.data(), nullptr, output_count_, logits_.data()});
  }

  void norm(const std::unique_ptr<DeviceMemory>& weight, const float* delta, const std::int32_t* rows, std::int64_t count) {
    backend_.rms_norm({residual_.data(), delta, floats(weight), rows, count, shape_.dim, model_.config().norm_epsilon, normed_.data()});
  }

  const Llama& model_;
  Backend& backend_;
  const ModelShape& shape_;
  Limits limits_;
  StepBuffer<TokenId> ids_;
  StepBuffer<std::int32_t> positions_, sequences_, tables_, outputs_;
  StepBuffer<float> residual_, normed_, qkv_, attended_, delta_, gate_up_, hidden_, logits_;
  std::int64_t output_count_ = 0;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<TransformerSession> create_session(const Transformer& model, const TransformerSession::Limits& limits) {
  return std::make_unique<LlamaSession>(dynamic_cast<const Llama&>(model), limits);
}

}  // namespace warploom
