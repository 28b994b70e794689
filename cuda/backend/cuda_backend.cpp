// The ops on a GPU, launched on one stream. Nothing waits but synchronise(), upload() and download(), and what makes memory:
// that has a stream of its own, so that it never gets into a step that another thread is recording.
#include <atomic>

#include <fmt/format.h>

#include "backend/cuda_module.h"
#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/backend/matmul/matmul.h"
#include "cuda/backend/staging_buffer.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/gpu.h"
#include "cuda/runtime/raii.h"
#include "cuda/toolkit/attention/kv_cache_args.h"
#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/sampling/sample_args.h"
#include "warploom/cuda/kv_cache.h"
#include "warploom/cuda/sampling.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using cuda::check;

class Memory final : public Buffer {
 public:
  explicit Memory(std::size_t bytes) : buffer_(bytes, "step buffers") {}
  void* data() override { return buffer_.data(); }
  std::size_t bytes() const override { return buffer_.bytes(); }

 private:
  cuda::DeviceBuffer buffer_;
};

class CudaKvCache final : public KvCache {
 public:
  explicit CudaKvCache(const KvCacheShape& shape) : shape_(shape), view_(view_of(shape)), buffer_(bytes(), "KV cache") {
    view_.data = buffer_.data();
  }
  const KvCacheShape& shape() const override { return shape_; }
  std::uint64_t bytes() const override { return static_cast<std::uint64_t>(view_.bytes()); }
  KvCacheView view() override { return view_; }

  /// Without memory yet. Throws InvalidArgument.
  static KvCacheView view_of(const KvCacheShape& s) {
    if (s.type == DType::int8)
      throw InvalidArgument("KV cache: a type of int8 is for the CPU alone; on CUDA it is f16, bf16 or f32");
    const KvCacheView view{nullptr, s.type, s.num_layers, s.num_blocks, s.num_kv_heads, s.head_dim, s.block_size};
    cuda::check_cache_shape(view);
    cuda::check_rounding(s.round_attention, s.type);
    return view;
  }

 private:
  KvCacheShape shape_;
  KvCacheView view_;
  cuda::DeviceBuffer buffer_;
};

class Rope final : public RopeTables {
 public:
  Rope(const RopeParams& params, const std::vector<double>& frequencies)
      : params_(params), frequencies_(frequencies.size() * sizeof(double), "rope frequencies") {}
  RopeView view() override {
    return {static_cast<const double*>(frequencies_.data()), params_.dims, params_.interleaved, params_.mscale, this};
  }
  void* frequencies() const { return frequencies_.data(); }

 private:
  RopeParams params_;
  cuda::DeviceBuffer frequencies_;
};

cuda::MatmulOptions matmul_options(const CudaOptions& options) {
  return {options.compute_type, options.weights == CudaWeights::half, options.deterministic};
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : options_(options),
        description_(describe(options)),
        stream_(cuda::create_stream()),
        memory_stream_(cuda::create_stream()),
        step_stream_(stream_.get(),
                     options.dependent_launch && cuda::can_launch_dependent(options.gpu, cuda::rms_norm_code())),
        matmul_(matmul_options(options), step_stream_) {}

  std::string description() const override { return description_; }
  DType activation_type() const override { return options_.compute_type; }

  // 1, 2, 4, 8 and then every multiple of 8: what products of so many rows cost is in steps of 8.
  std::int64_t graph_batch_size(std::int64_t tokens) const override {
    if (tokens > 4) return (tokens + 7) / 8 * 8;
    return tokens == 3 ? 4 : tokens;
  }

  std::uint64_t free_bytes() const override {
    std::size_t free = 0, total = 0;
    check(cudaSetDevice(options_.gpu), "choosing the GPU");
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return free;
  }

  std::unique_ptr<Buffer> alloc(std::size_t bytes) override {
    return guarded([&] {
      auto memory = std::make_unique<Memory>(bytes);
      clear(memory->data(), bytes);
      return memory;
    });
  }

  void upload(void* device, const void* host, std::size_t bytes) override {
    if (bytes > 0) guarded([&] { copy(device, host, bytes, cudaMemcpyHostToDevice, stream_, "upload"); });
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    if (bytes > 0) guarded([&] { copy(host, device, bytes, cudaMemcpyDeviceToHost, stream_, "download"); });
  }
  void synchronise() override {
    guarded([&] { check(cudaStreamSynchronize(stream_.get()), "a step on the GPU"); });
  }

  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) override {
    return guarded([&] { return matmul_.load_weight(parts); });
  }
  std::unique_ptr<Weight> load_gated_weight(const WeightView& gate, const WeightView& up) override {
    return guarded([&] { return matmul_.load_gated_weight(gate, up); });
  }
  std::unique_ptr<RopeTables> load_rope(const RopeParams& params, const float* factors) override {
    return guarded([&] {
      const std::vector<double> frequencies = rope_frequencies(params, factors);
      auto rope = std::make_unique<Rope>(params, frequencies);
      if (!frequencies.empty())
        copy(rope->frequencies(), frequencies.data(), frequencies.size() * sizeof(double), cudaMemcpyHostToDevice,
             memory_stream_, "upload");
      return rope;
    });
  }
  std::unique_ptr<KvCache> create_kv_cache(const KvCacheShape& shape) override {
    return guarded([&] {
      auto cache = std::make_unique<CudaKvCache>(shape);
      clear(cache->view().data, cache->bytes());
      return cache;
    });
  }
  std::unique_ptr<StagingBuffer> create_staging_buffer(std::size_t bytes) override {
    return guarded([&] { return std::make_unique<cuda::CudaStagingBuffer>(bytes); });
  }

  void check_kv_cache_shape(const KvCacheShape& shape) const override { static_cast<void>(CudaKvCache::view_of(shape)); }

  std::size_t workspace_bytes(const PagedAttentionArgs& args) const override {
    return cuda::paged_attention_workspace_bytes(args);
  }
  std::size_t workspace_bytes(const SampleArgs& args) const override {
    check(cudaSetDevice(options_.gpu), "choosing the GPU");
    return cuda::max_sample_workspace_bytes(args);
  }

  void run_step(StagingBuffer& in, std::size_t in_bytes, StagingBuffer& out, std::size_t out_bytes, bool is_decode,
                const std::function<void()>& forward) override {
    guarded([&] {
      auto& input = static_cast<cuda::CudaStagingBuffer&>(in);
      list_calls(forward);
      const cuda::CudaStagingBuffer::Step step{in_bytes, out.host(), out.device(), out_bytes};
      const auto launch_all = [this] {
        for (const OpCall& call : calls_) std::visit([this](const auto& args) { launch(args); }, call);
      };
      try {
        if (!is_decode || !options_.cuda_graphs)
          input.run(step, stream_.get(), launch_all);
        else if (step_stream_.dependent)
          input.run_captured(step, calls_, stream_.get(), launch_all, [this](bool dependent) { set_dependent(dependent); });
        else
          input.run_captured(step, calls_, stream_.get(), launch_all);
      } catch (const cuda::DeviceFault&) {
        throw;
      } catch (...) {  // what was launched before reads the step's input, which the next step overwrites
        check(cudaStreamSynchronize(stream_.get()), "a step on the GPU");
        throw;
      }
    });
  }

  void embed(const EmbedArgs& args) override { op(args); }
  void rms_norm(const RmsNormArgs& args) override { op(args); }
  void gather_rows(const GatherRowsArgs& args) override { op(args); }
  void matmul(const MatmulArgs& args) override { op(args); }
  void rope_append(const RopeAppendArgs& args) override { op(args); }
  void paged_attention(const PagedAttentionArgs& args) override { op(args); }
  void swiglu(const SwigluArgs& args) override { op(args); }
  void gated_matmul(const GatedMatmulArgs& args) override { op(args); }
  void sample(const SampleArgs& args) override { op(args); }
  void copy_block(const CopyBlockArgs& args) override {
    guarded([&] { cuda::copy_block(args.cache, args.from, args.to, stream_.get()); });
  }

 private:
  // Within run_step() ops are listed first; what is launched is what the list says.
  template <typename Args>
  void op(const Args& args) {
    if (listing_)
      calls_.emplace_back(args);
    else
      guarded([&] { launch(args); });
  }
  void list_calls(const std::function<void()>& forward) {
    calls_.clear();
    listing_ = true;
    try {
      forward();
    } catch (...) {
      listing_ = false;
      throw;
    }
    listing_ = false;
  }
  void set_dependent(bool dependent) {
    step_stream_.dependent = dependent;
    matmul_.set_dependent(dependent);
  }
  void launch(const EmbedArgs& args) { matmul_.embed(args); }
  void launch(const RmsNormArgs& args) { cuda::launch_rms_norm(args, options_.compute_type, step_stream_); }
  void launch(const GatherRowsArgs& args) { cuda::launch_gather_rows(args, step_stream_); }
  void launch(const MatmulArgs& args) { matmul_.run(args); }
  void launch(const RopeAppendArgs& args) { cuda::rope_append(args, step_stream_); }
  void launch(const PagedAttentionArgs& args) { cuda::paged_attention(args, step_stream_); }
  void launch(const SwigluArgs& args) { cuda::launch_swiglu(args, options_.compute_type, step_stream_); }
  void launch(const GatedMatmulArgs& args) { matmul_.run(args); }
  void launch(const SampleArgs& args) { cuda::sample(args, stream_.get()); }

  static std::string describe(const CudaOptions& options) {
    check(cudaSetDevice(options.gpu), "choosing the GPU");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, options.gpu), "asking what the GPU is");
    const std::size_t mib = properties.totalGlobalMem >> 20;
    const std::string memory = mib < 4096 ? fmt::format("{} MiB", mib) : fmt::format("{} GiB", mib >> 10);
    return fmt::format("cuda: {}, {}, {} weights, {}{}", properties.name, memory,
                       options.weights == CudaWeights::packed ? "packed" : "half",
                       options.compute_type == DType::f16 ? "f16" : "bf16", options.deterministic ? ", deterministic" : "");
  }

  // On the calling thread the right GPU; after a failure of the device nothing more.
  template <typename Work>
  auto guarded(const Work& work) -> decltype(work()) {
    if (failed_) throw BackendError("the GPU failed in an earlier call; load the model again");
    try {
      check(cudaSetDevice(options_.gpu), "choosing the GPU");
      return work();
    } catch (const cuda::DeviceFault&) {
      failed_ = true;
      throw;
    }
  }

  void clear(void* memory, std::size_t bytes) {
    if (bytes == 0) return;
    check(cudaMemsetAsync(memory, 0, bytes, memory_stream_.get()), "clearing memory");
    check(cudaStreamSynchronize(memory_stream_.get()), "clearing memory");
  }

  static void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, const cuda::Stream& stream,
                   const char* what) {
    check(cudaMemcpyAsync(to, from, bytes, kind, stream.get()), what);
    check(cudaStreamSynchronize(stream.get()), what);
  }

  CudaOptions options_;
  std::string description_;
  cuda::Stream stream_, memory_stream_;
  cuda::LaunchStream step_stream_;
  cuda::Matmul matmul_;
  std::vector<OpCall> calls_;  // of the step that run_step() runs
  bool listing_ = false;
  std::atomic<bool> failed_ = false;
};

Backend* create(const DeviceOptions& options, std::string& missing) {
  missing = cuda::why_unusable(options.cuda.gpu);
  if (!missing.empty()) return nullptr;
  if (options.cuda.compute_type != DType::f16 && options.cuda.compute_type != DType::bf16)
    throw InvalidArgument("compute_type is f32; on CUDA it must be f16 or bf16");
  return new CudaBackend(options.cuda);
}

}  // namespace

const CudaModule warploom_cuda_module = {.create = create};

}  // namespace warploom
