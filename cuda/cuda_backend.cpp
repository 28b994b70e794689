// The ops on a GPU: checks what ops.h leaves to the backend, turns its arguments into those of the kernels, and launches on one
// stream. Nothing waits but synchronise(), upload() and download(), and what makes memory: that has a stream of its own, so that it
// never gets into a step that another thread is recording.
#include <algorithm>
#include <atomic>

#include <fmt/format.h>

#include "backend/cuda_module.h"
#include "cuda/elementwise/elementwise.h"
#include "cuda/kv_cache_args.h"
#include "cuda/matmul/matmul.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/raii.h"
#include "cuda/step_memory.h"
#include "warploom/cuda/kv_cache.h"
#include "warploom/cuda/sampling.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using cuda::check;

class Memory final : public DeviceMemory {
 public:
  explicit Memory(std::size_t bytes) : buffer_(bytes, "device memory") {}
  void* data() override { return buffer_.data(); }
  std::size_t bytes() const override { return buffer_.bytes(); }

 private:
  cuda::DeviceBuffer buffer_;
};

class KvBlocks final : public KvStorage {
 public:
  explicit KvBlocks(const KvShape& shape) : shape_(shape), view_(view_of(shape)), buffer_(bytes(), "KV cache") {
    view_.data = buffer_.data();
  }
  const KvShape& shape() const override { return shape_; }
  std::uint64_t bytes() const override { return static_cast<std::uint64_t>(view_.bytes()); }
  const cuda::KvCacheView& view() const { return view_; }

  /// Without memory yet. Throws InvalidArgument.
  static cuda::KvCacheView view_of(const KvShape& s) {
    const cuda::KvCacheView view{nullptr, s.type, s.layers, s.blocks, s.kv_heads, s.head_dim, s.block_tokens};
    cuda::check_cache_shape(view);
    return view;
  }

 private:
  KvShape shape_;
  cuda::KvCacheView view_;
  cuda::DeviceBuffer buffer_;
};

class Rope final : public PreparedRope {
 public:
  Rope(const RopeParams& params, const std::vector<double>& frequencies)
      : params_(params), frequencies_(frequencies.size() * sizeof(double), "rope frequencies") {}
  const RopeParams& params() const { return params_; }
  double* frequencies() const { return static_cast<double*>(frequencies_.data()); }

 private:
  RopeParams params_;
  cuda::DeviceBuffer frequencies_;
};

cuda::KvStep step_of(const StepLayout& layout) {
  cuda::KvStep step;
  step.tokens = layout.tokens;
  step.sequences = layout.sequence_count;
  step.most_tokens = layout.most_tokens;
  step.positions = layout.positions;
  step.sequence = layout.sequences;
  step.starts = layout.starts;
  step.block_tables = layout.block_tables;
  step.table_stride = layout.table_stride;
  return step;
}

cuda::MatmulOptions matmul_options(const CudaOptions& options) {
  return {options.activations, options.weights == CudaWeights::dense, options.deterministic};
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : options_(options),
        description_(describe(options)),
        stream_(cuda::create_stream()),
        memory_stream_(cuda::create_stream()),
        matmul_(matmul_options(options), stream_.get()) {}

  std::string description() const override { return description_; }
  FloatType activation_type() const override { return options_.activations; }

  // 1, 2, 4, 8 and then every multiple of 8: what products of so many rows cost is in steps of 8.
  std::int64_t padded_tokens(std::int64_t tokens) const override {
    if (tokens > 4) return (tokens + 7) / 8 * 8;
    return tokens == 3 ? 4 : tokens;
  }

  std::uint64_t free_bytes() const override {
    std::size_t free = 0, total = 0;
    check(cudaSetDevice(options_.gpu), "choosing the GPU");
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return free;
  }

  std::unique_ptr<DeviceMemory> alloc(std::size_t bytes) override {
    return guarded([&] {
      auto memory = std::make_unique<Memory>(bytes);
      clear(memory->data(), bytes);
      return memory;
    });
  }

  void upload(void* device, const void* host, std::size_t bytes) override {
    if (bytes > 0) guarded([&] { copy(device, host, bytes, cudaMemcpyHostToDevice, "upload"); });
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    if (bytes > 0) guarded([&] { copy(host, device, bytes, cudaMemcpyDeviceToHost, "download"); });
  }
  void synchronise() override {
    guarded([&] { check(cudaStreamSynchronize(stream_.get()), "a step on the GPU"); });
  }

  std::unique_ptr<PreparedWeight> prepare(std::span<const WeightView> parts) override {
    return guarded([&] { return matmul_.prepare(parts); });
  }
  std::unique_ptr<PreparedRope> prepare_rope(const RopeParams& params, const float* factors) override {
    return guarded([&] {
      const std::vector<double> frequencies = rope_frequencies(params, factors);
      auto rope = std::make_unique<Rope>(params, frequencies);
      if (!frequencies.empty())
        copy(rope->frequencies(), frequencies.data(), frequencies.size() * sizeof(double), cudaMemcpyHostToDevice, "upload");
      return rope;
    });
  }
  std::unique_ptr<KvStorage> create_kv_storage(const KvShape& shape) override {
    return guarded([&] {
      auto cache = std::make_unique<KvBlocks>(shape);
      clear(cache->view().data, cache->bytes());
      return cache;
    });
  }
  std::unique_ptr<StepMemory> create_step_memory(std::size_t bytes) override {
    return guarded([&] { return std::make_unique<cuda::CudaStepMemory>(bytes); });
  }

  void check_kv_shape(const KvShape& shape) const override { static_cast<void>(view_of(shape)); }

  std::size_t workspace_bytes(const AttentionArgs& args, const KvShape& cache) const override {
    return cuda::paged_attention_workspace_bytes(attention_args(args, view_of(cache)));
  }
  // Fewer rows can need more: they are shared by several blocks each.
  std::size_t workspace_bytes(const SampleArgs& args) const override {
    check(cudaSetDevice(options_.gpu), "choosing the GPU");
    std::size_t most = 0;
    for (cuda::SampleArgs a = sample_args(args); a.rows > 0; a.rows = a.rows > 64 ? 64 : a.rows - 1)
      most = std::max(most, cuda::sample_workspace_bytes(a));
    return most;
  }

  void run_step(const StepKey& key, StepMemory& in, StepMemory& out, const std::function<void()>& record) override {
    guarded([&] { static_cast<cuda::CudaStepMemory&>(in).run(key, out, stream_.get(), options_.graphs, record); });
  }

  void embed(const EmbedArgs& args) override {
    guarded([&] { matmul_.embed(args); });
  }
  void rms_norm(const RmsNormArgs& args) override {
    guarded([&] { cuda::launch_rms_norm(args, options_.activations, stream_.get()); });
  }
  void matmul(const MatmulArgs& args) override {
    guarded([&] { matmul_.run(args); });
  }
  void rope_append(const RopeAppendArgs& args) override {
    guarded([&] { cuda::rope_append(append_args(args), stream_.get()); });
  }
  void attention(const AttentionArgs& args) override {
    guarded([&] {
      void* workspace = args.workspace ? args.workspace->data() : nullptr;
      cuda::paged_attention(attention_args(args, view_of(args.cache)), workspace, args.workspace ? args.workspace->bytes() : 0, stream_.get());
    });
  }
  void swiglu(const SwigluArgs& args) override {
    guarded([&] { cuda::launch_swiglu(args, options_.activations, stream_.get()); });
  }
  void sample(const SampleArgs& args) override {
    guarded([&] {
      void* workspace = args.workspace ? args.workspace->data() : nullptr;
      cuda::sample(sample_args(args), workspace, args.workspace ? args.workspace->bytes() : 0, stream_.get());
    });
  }
  void copy_block(const CopyBlockArgs& args) override {
    guarded([&] { cuda::copy_block(view_of(args.cache), args.from, args.to, stream_.get()); });
  }

 private:
  static std::string describe(const CudaOptions& options) {
    check(cudaSetDevice(options.gpu), "choosing the GPU");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, options.gpu), "asking what the GPU is");
    return fmt::format("cuda: {}, {} GiB, {} weights, {}{}", properties.name, properties.totalGlobalMem >> 30,
                       options.weights == CudaWeights::packed ? "packed" : "dense", options.activations == FloatType::f16 ? "f16" : "bf16",
                       options.deterministic ? ", deterministic" : "");
  }

  // On the calling thread the right GPU; after a failure of the device nothing more.
  template <typename Work>
  auto guarded(const Work& work) -> decltype(work()) {
    if (failed_) throw BackendError("the GPU failed in an earlier call; load the model again");
    try {
      check(cudaSetDevice(options_.gpu), "choosing the GPU");
      return work();
    } catch (const BackendError&) {
      failed_ = true;
      throw;
    }
  }

  void clear(void* memory, std::size_t bytes) {
    if (bytes == 0) return;
    check(cudaMemsetAsync(memory, 0, bytes, memory_stream_.get()), "clearing memory");
    check(cudaStreamSynchronize(memory_stream_.get()), "clearing memory");
  }

  static const cuda::KvCacheView& view_of(const KvStorage* cache) { return static_cast<const KvBlocks*>(cache)->view(); }
  static cuda::KvCacheView view_of(const KvShape& shape) { return KvBlocks::view_of(shape); }

  void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, const char* what) {
    check(cudaMemcpyAsync(to, from, bytes, kind, stream_.get()), what);
    check(cudaStreamSynchronize(stream_.get()), what);
  }

  static cuda::RopeAppendArgs append_args(const RopeAppendArgs& args) {
    const KvShape& kv = args.cache->shape();
    const auto& rope = static_cast<const Rope&>(*args.rope);
    const std::int64_t stride = (args.heads + 2 * kv.kv_heads) * kv.head_dim;
    cuda::RopeAppendArgs a;
    a.queries = {args.qkv, FloatType::f32, stride};
    a.keys = {args.qkv + args.heads * kv.head_dim, FloatType::f32, stride};
    a.values = {args.qkv + (args.heads + kv.kv_heads) * kv.head_dim, FloatType::f32, stride};
    a.heads = args.heads;
    a.frequencies = rope.frequencies();
    a.rope_dims = rope.params().dims;
    a.adjacent_pairs = rope.params().adjacent_pairs;
    a.attention_scale = rope.params().attention_scale;
    a.step = step_of(args.layout);
    a.cache = view_of(args.cache);
    a.layer = args.layer;
    return a;
  }

  cuda::PagedAttentionArgs attention_args(const AttentionArgs& args, const cuda::KvCacheView& kv) const {
    cuda::PagedAttentionArgs a;
    a.queries = {const_cast<float*>(args.qkv), FloatType::f32, (args.heads + 2 * kv.kv_heads) * kv.head_dim};
    a.heads = args.heads;
    a.scale = args.scale;
    a.soft_cap = args.soft_cap;
    a.window = args.window;
    a.step = step_of(args.layout);
    a.cache = kv;
    a.layer = args.layer;
    a.out = {args.out, options_.activations, args.heads * kv.head_dim};
    return a;
  }

  static cuda::SampleArgs sample_args(const SampleArgs& args) {
    cuda::SampleArgs a;
    a.logits = args.logits;
    a.type = FloatType::f32;
    a.rows = args.rows;
    a.vocab = a.row_stride = args.vocab;
    a.temperature = args.temperature;
    a.top_k = args.top_k;
    a.top_p = args.top_p;
    a.min_p = args.min_p;
    a.seed = args.seed;
    a.position = args.position;
    a.stream = args.stream;
    a.repetition_penalty = args.repetition_penalty;
    a.frequency_penalty = args.frequency_penalty;
    a.presence_penalty = args.presence_penalty;
    a.history = args.history;
    a.history_offsets = args.history_offsets;
    a.bias = args.bias;
    a.bias_offsets = args.bias_offsets;
    a.token = args.token;
    a.status = args.status;
    a.logprob = args.logprob;
    return a;
  }

  CudaOptions options_;
  std::string description_;
  cuda::Stream stream_, memory_stream_;
  cuda::Matmul matmul_;
  std::atomic<bool> failed_ = false;
};

void check_options(const CudaOptions& options, int gpus) {
  if (options.gpu < 0 || options.gpu >= gpus)
    throw InvalidArgument(fmt::format("gpu is {}; this machine has {}, counted from 0", options.gpu, gpus));
  if (options.activations != FloatType::f16 && options.activations != FloatType::bf16)
    throw InvalidArgument("activations: f32 is not to be had on CUDA, where they are f16 or bf16");
}

}  // namespace
}  // namespace warploom

extern "C" WARPLOOM_EXPORT warploom::Backend* WARPLOOM_CREATE_CUDA_BACKEND(const warploom::DeviceOptions& options, std::string& missing) {
  int gpus = 0;
  const cudaError_t error = cudaGetDeviceCount(&gpus);
  if (error != cudaSuccess || gpus == 0) {
    const char* why = error == cudaErrorInsufficientDriver ? "no NVIDIA driver, or one too old for CUDA 13"
                                                           : cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error);
    missing = fmt::format("there is no GPU that CUDA can use ({})", why);
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  warploom::check_options(options.cuda, gpus);
  int major = 0;
  warploom::cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, options.cuda.gpu), "asking what the GPU is");
  if (major < 8) {
    missing = fmt::format("GPU {} is of compute capability {}; it takes 8.0 (A100) or later", options.cuda.gpu, major);
    return nullptr;
  }
  return new warploom::CudaBackend(options.cuda);
}
