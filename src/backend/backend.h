// The seam: everything above it drives a device through this class and knows no other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "backend/ops.h"
#include "warploom/device.h"

namespace warploom {

/// Owner of device memory. Move-only.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void* data() = 0;
  virtual std::size_t bytes() const = 0;
};

/// Identifies a step whose work may be recorded once and replayed: same key, same kernels, same addresses.
struct StepKey {
  std::int64_t tokens = 0;
  std::int64_t outputs = 0;
};

/// Not thread-safe but for step_mutex(): hold it for a whole step.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;

  /// Throws OutOfMemory. Contents are zero.
  virtual std::unique_ptr<DeviceMemory> alloc(std::size_t bytes) = 0;
  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  /// Returns when all work given so far is done. Throws BackendError where any of it failed.
  virtual void synchronise() = 0;

  /// Repacks matrices of equal width, stacked row after row, into one weight. The views may go away afterwards.
  virtual std::unique_ptr<PreparedWeight> prepare(std::span<const WeightView> parts) = 0;
  virtual std::unique_ptr<KvStorage> create_kv_storage(const KvShape& shape) = 0;

  /// Runs `record`, which calls ops. A backend may record the ops for `key` and replay them at the next call instead.
  virtual void run_step(const StepKey& key, const std::function<void()>& record) = 0;

  virtual void embed(const EmbedArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void matmul(const MatmulArgs& args) = 0;
  virtual void rope_append(const RopeAppendArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void swiglu(const SwigluArgs& args) = 0;
  virtual void sample(const SampleArgs& args) = 0;
  virtual void copy_block(const CopyBlockArgs& args) = 0;

  std::mutex& step_mutex() { return step_mutex_; }

 private:
  std::mutex step_mutex_;
};

/// The one place where backends are met. Throws BackendError where the device asked for is not there.
std::unique_ptr<Backend> create_backend(const DeviceOptions& options);

/// Defined in src/cpu/.
std::unique_ptr<Backend> create_cpu_backend(const DeviceOptions& options);

}  // namespace warploom
