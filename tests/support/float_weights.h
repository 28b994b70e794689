// The CPU backend on weights dequantised to f32: no input is rounded to 8 bits then, so its logits are the measure for devices that
// round otherwise.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/quants.h"

namespace warploom::test {

class FloatWeights final : public Backend {
 public:
  explicit FloatWeights(const DeviceOptions& options = {}) : cpu_(create_cpu_backend(options)) {}

  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) override {
    std::vector<std::vector<float>> values;
    std::vector<WeightView> views(parts.begin(), parts.end());
    for (WeightView& view : views) {
      const auto cols = static_cast<std::size_t>(view.cols);
      std::vector<float>& all = values.emplace_back(static_cast<std::size_t>(view.rows) * cols);
      for (std::int64_t r = 0; r < view.rows; ++r)
        dequantize_row(view, r, std::span(all).subspan(static_cast<std::size_t>(r) * cols, cols));
      view.type = WeightType::f32;
      view.data = reinterpret_cast<const std::byte*>(all.data());
    }
    return cpu_->load_weight(views);
  }

  std::string description() const override { return cpu_->description() + ", float weights"; }
  std::unique_ptr<Buffer> alloc(std::size_t bytes) override { return cpu_->alloc(bytes); }
  void upload(void* device, const void* host, std::size_t bytes) override { cpu_->upload(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { cpu_->download(host, device, bytes); }
  void synchronise() override { cpu_->synchronise(); }
  std::unique_ptr<RopeTables> load_rope(const RopeParams& params, const float* factors) override {
    return cpu_->load_rope(params, factors);
  }
  void check_kv_cache_shape(const KvCacheShape& shape) const override { cpu_->check_kv_cache_shape(shape); }
  std::unique_ptr<KvCache> create_kv_cache(const KvCacheShape& shape) override { return cpu_->create_kv_cache(shape); }
  std::unique_ptr<StagingBuffer> create_staging_buffer(std::size_t bytes) override {
    return cpu_->create_staging_buffer(bytes);
  }
  void run_step(StagingBuffer& in, std::size_t in_bytes, StagingBuffer& out, std::size_t out_bytes, bool is_decode,
                const std::function<void()>& forward) override {
    cpu_->run_step(in, in_bytes, out, out_bytes, is_decode, forward);
  }
  void embed(const EmbedArgs& args) override { cpu_->embed(args); }
  void rms_norm(const RmsNormArgs& args) override { cpu_->rms_norm(args); }
  void matmul(const MatmulArgs& args) override { cpu_->matmul(args); }
  void rope_append(const RopeAppendArgs& args) override { cpu_->rope_append(args); }
  void paged_attention(const PagedAttentionArgs& args) override { cpu_->paged_attention(args); }
  void swiglu(const SwigluArgs& args) override { cpu_->swiglu(args); }
  void sample(const SampleArgs& args) override { cpu_->sample(args); }
  void copy_block(const CopyBlockArgs& args) override { cpu_->copy_block(args); }

 private:
  std::unique_ptr<Backend> cpu_;
};

}  // namespace warploom::test
