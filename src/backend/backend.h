// The interface to a device: everything above it drives a device through this class and knows no other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "backend/fair_mutex.h"
#include "backend/ops.h"
#include "warploom/device.h"

namespace warploom {

/// Memory of fixed address that the host fills before a step and the device reads in it, or that the device fills and the
/// host reads when the step is done. On the CPU both are one.
class StagingBuffer {
 public:
  virtual ~StagingBuffer() = default;
  virtual std::byte* host() = 0;
  virtual std::byte* device() = 0;
  virtual std::size_t bytes() const = 0;
};

/// Hold step_mutex() from a run_step() until it is done, and for uploads, downloads and copies. alloc(), create_*() and load_*()
/// may be called by one thread while another runs a step. Once the device has failed every call throws a BackendError: nothing on it
/// can be trusted. A BackendError of a call that was refused, such as a launch, leaves the others as they were.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;

  /// Throws OutOfMemory. Contents are zero.
  virtual std::unique_ptr<Buffer> alloc(std::size_t bytes) = 0;
  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  /// Returns when all work given so far is done. Throws BackendError if any of it failed.
  virtual void synchronise() = 0;

  virtual DType activation_type() const { return DType::f32; }
  /// How many tokens a decode step of `tokens` is filled up to with padding tokens, so that few sizes are ever captured.
  virtual std::int64_t graph_batch_size(std::int64_t tokens) const { return tokens; }
  /// Bytes that can still be allocated, as far as the backend knows; else the largest number.
  virtual std::uint64_t free_bytes() const { return UINT64_MAX; }
  /// Share of the free memory that a KV cache may take unless the user says otherwise.
  virtual double kv_cache_share() const { return 0.9; }
  /// How many tokens a step may hold unless the user says otherwise.
  virtual std::int64_t max_num_batched_tokens() const { return 512; }

  /// Repacks matrices of equal width, stacked row after row, into one weight. The views may go away afterwards. Throws what a
  /// view's source throws.
  virtual std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) = 0;
  /// The same of two matrices of equal shape, for gated_matmul() alone.
  virtual std::unique_ptr<Weight> load_gated_weight(const WeightView& gate, const WeightView& up) {
    const WeightView parts[] = {gate, up};
    return load_weight(parts);
  }
  /// factors: [dims / 2] divisors of each pair's frequency, or null; host memory.
  virtual std::unique_ptr<RopeTables> load_rope(const RopeParams& params, const float* factors) = 0;
  /// Throws InvalidArgument if create_kv_cache() would.
  virtual void check_kv_cache_shape(const KvCacheShape& shape) const = 0;
  virtual std::unique_ptr<KvCache> create_kv_cache(const KvCacheShape& shape) = 0;
  virtual std::unique_ptr<StagingBuffer> create_staging_buffer(std::size_t bytes) = 0;

  /// Bytes that the op's args.workspace needs for every step of at most these sizes; from alloc(), not shared with another op.
  virtual std::size_t workspace_bytes(const PagedAttentionArgs&) const { return 0; }
  virtual std::size_t workspace_bytes(const SampleArgs&) const { return 0; }

  /// Brings the first in_bytes bytes of `in` to the device, runs the ops that `forward` calls, and brings back the first
  /// out_bytes bytes of `out`; done when synchronise() returns. is_decode says that equal steps are likely to follow: then CUDA
  /// captures a graph, and replays it for later steps whose ops are equal in every argument.
  virtual void run_step(StagingBuffer& in, std::size_t in_bytes, StagingBuffer& out, std::size_t out_bytes, bool is_decode,
                        const std::function<void()>& forward) = 0;

  virtual void embed(const EmbedArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void gather_rows(const GatherRowsArgs& args) = 0;
  virtual void matmul(const MatmulArgs& args) = 0;
  virtual void rope_append(const RopeAppendArgs& args) = 0;
  virtual void paged_attention(const PagedAttentionArgs& args) = 0;
  virtual void swiglu(const SwigluArgs& args) = 0;
  virtual void gated_matmul(const GatedMatmulArgs& args) = 0;
  virtual void sample(const SampleArgs& args) = 0;
  virtual void copy_block(const CopyBlockArgs& args) = 0;

  FairMutex& step_mutex() { return step_mutex_; }

 private:
  FairMutex step_mutex_;
};

/// The one place where backends are met. Throws BackendError if the device asked for is not there. `info`, unless null, gets what
/// it is.
std::unique_ptr<Backend> create_backend(const DeviceOptions& options, DeviceInfo* info = nullptr);

/// Defined in src/cpu/.
std::unique_ptr<Backend> create_cpu_backend(const DeviceOptions& options);
/// Whether NVIDIA's driver is installed: quick to find out, while loading CUDA's libraries to no avail takes long.
bool has_cuda_driver();
/// Loads the module with the CUDA backend, which lies beside the program or the library. Null with the reason in `missing` if
/// there is no such module, no driver or no GPU.
std::unique_ptr<Backend> create_cuda_backend(const DeviceOptions& options, std::string& missing);

}  // namespace warploom
