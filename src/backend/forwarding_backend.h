// A backend in front of another, for tests and benchmarks: they override what is to differ, the rest is passed on.
#pragma once

#include <memory>
#include <utility>

#include "backend/backend.h"

namespace warploom {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> to) : to_(std::move(to)) {}

  std::string description() const override { return to_->description(); }
  std::unique_ptr<Buffer> alloc(std::size_t bytes) override { return to_->alloc(bytes); }
  void upload(void* device, const void* host, std::size_t bytes) override { to_->upload(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { to_->download(host, device, bytes); }
  void synchronise() override { to_->synchronise(); }
  DType activation_type() const override { return to_->activation_type(); }
  std::int64_t graph_batch_size(std::int64_t tokens) const override { return to_->graph_batch_size(tokens); }
  std::uint64_t free_bytes() const override { return to_->free_bytes(); }
  double kv_cache_share() const override { return to_->kv_cache_share(); }
  std::int64_t max_num_batched_tokens() const override { return to_->max_num_batched_tokens(); }
  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) override { return to_->load_weight(parts); }
  std::unique_ptr<Weight> load_gated_weight(const WeightView& gate, const WeightView& up) override {
    return to_->load_gated_weight(gate, up);
  }
  std::unique_ptr<RopeTables> load_rope(const RopeParams& params, const float* factors) override {
    return to_->load_rope(params, factors);
  }
  void check_kv_cache_shape(const KvCacheShape& shape) const override { to_->check_kv_cache_shape(shape); }
  std::unique_ptr<KvCache> create_kv_cache(const KvCacheShape& shape) override { return to_->create_kv_cache(shape); }
  std::unique_ptr<StagingBuffer> create_staging_buffer(std::size_t bytes) override {
    return to_->create_staging_buffer(bytes);
  }
  std::size_t workspace_bytes(const PagedAttentionArgs& largest) const override { return to_->workspace_bytes(largest); }
  std::size_t workspace_bytes(const SampleArgs& largest) const override { return to_->workspace_bytes(largest); }
  void run_step(StagingBuffer& in, std::size_t in_bytes, StagingBuffer& out, std::size_t out_bytes, bool is_decode,
                const std::function<void()>& forward) override {
    to_->run_step(in, in_bytes, out, out_bytes, is_decode, forward);
  }
  void embed(const EmbedArgs& args) override { to_->embed(args); }
  void rms_norm(const RmsNormArgs& args) override { to_->rms_norm(args); }
  void gather_rows(const GatherRowsArgs& args) override { to_->gather_rows(args); }
  void matmul(const MatmulArgs& args) override { to_->matmul(args); }
  void rope_append(const RopeAppendArgs& args) override { to_->rope_append(args); }
  void paged_attention(const PagedAttentionArgs& args) override { to_->paged_attention(args); }
  void swiglu(const SwigluArgs& args) override { to_->swiglu(args); }
  void gated_matmul(const GatedMatmulArgs& args) override { to_->gated_matmul(args); }
  void sample(const SampleArgs& args) override { to_->sample(args); }
  void copy_block(const CopyBlockArgs& args) override { to_->copy_block(args); }

 private:
  std::unique_ptr<Backend> to_;
};

}  // namespace warploom
