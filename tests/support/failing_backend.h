// A device that fails at the nth piece of work from now.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "backend/forwarding_backend.h"

namespace warploom::test {

class FailingBackend final : public ForwardingBackend {
 public:
  using Fail = std::function<void()>;  // throws

  FailingBackend() : ForwardingBackend(create_cpu_backend({DeviceKind::cpu, 1, CpuIsa::automatic, {}})) {}

  /// The nth op, transfer or wait from now fails, `lasting`: and so does all that follows. 0: none.
  void fail_at(std::int64_t nth, Fail fail, bool lasting) {
    done_ = 0;
    nth_ = nth;
    fail_ = std::move(fail);
    lasting_ = lasting;
  }
  /// Pieces of work since fail_at().
  std::int64_t done() const { return done_; }

  void upload(void* device, const void* host, std::size_t bytes) override {
    count();
    ForwardingBackend::upload(device, host, bytes);
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    count();
    ForwardingBackend::download(host, device, bytes);
  }
  void synchronise() override {
    count();
    ForwardingBackend::synchronise();
  }
  void run_step(StagingBuffer& in, std::size_t in_bytes, StagingBuffer& out, std::size_t out_bytes, bool is_decode,
                const std::function<void()>& forward) override {
    count();
    ForwardingBackend::run_step(in, in_bytes, out, out_bytes, is_decode, forward);
  }
  void embed(const EmbedArgs& args) override { count(), ForwardingBackend::embed(args); }
  void rms_norm(const RmsNormArgs& args) override { count(), ForwardingBackend::rms_norm(args); }
  void gather_rows(const GatherRowsArgs& args) override { count(), ForwardingBackend::gather_rows(args); }
  void matmul(const MatmulArgs& args) override { count(), ForwardingBackend::matmul(args); }
  void rope_append(const RopeAppendArgs& args) override { count(), ForwardingBackend::rope_append(args); }
  void paged_attention(const PagedAttentionArgs& args) override { count(), ForwardingBackend::paged_attention(args); }
  void swiglu(const SwigluArgs& args) override { count(), ForwardingBackend::swiglu(args); }
  void gated_matmul(const GatedMatmulArgs& args) override { count(), ForwardingBackend::gated_matmul(args); }
  void sample(const SampleArgs& args) override { count(), ForwardingBackend::sample(args); }
  void copy_block(const CopyBlockArgs& args) override { count(), ForwardingBackend::copy_block(args); }

 private:
  void count() {
    ++done_;
    if (nth_ > 0 && (lasting_ ? done_ >= nth_ : done_ == nth_)) fail_();
  }

  std::int64_t done_ = 0, nth_ = 0;
  Fail fail_;
  bool lasting_ = false;
};

}  // namespace warploom::test
