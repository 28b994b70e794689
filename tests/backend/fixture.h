// Every op test runs on every backend of this machine: on the CPU with each instruction set and number of threads, on CUDA in each
// mode that makes a difference to the op.
#pragma once

#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "support/encoding.h"
#include "support/guarded_array.h"
#include "support/same_bits.h"
#include "support/sanitized.h"

namespace warploom::test {

/// Every instruction set alone and on four threads. For AddressSanitizer on four only, to halve its time. For ThreadSanitizer the best one
/// on four: it sees nothing on one thread, and instruction sets differ in their kernels alone, which run on one thread each.
inline std::vector<DeviceOptions> cpu_devices() {
  const std::vector<CpuIsa> isas = available_cpu_isas();
  if (kThreadSanitizer) return {{DeviceKind::cpu, 4, isas.back(), {}}};
  std::vector<DeviceOptions> all;
  for (const CpuIsa isa : isas) {
    if (!kAddressSanitizer) all.push_back({DeviceKind::cpu, 1, isa, {}});
    all.push_back({DeviceKind::cpu, 4, isa, {}});
  }
  return all;
}

/// Whether there is a CUDA device. Looked at once: each look makes a backend.
inline bool has_cuda() {
#ifndef WARPLOOM_TESTS_HAVE_CUDA
  return false;  // without a look: every test is a process of its own, and loading CUDA's libraries takes a while
#else
  static const bool has = [] {
    std::string missing;
    DeviceOptions any;
    any.kind = DeviceKind::cuda;
    return create_cuda_backend(any, missing) != nullptr;
  }();
  return has;
#endif
}

/// How weights are kept, and whether their products are deterministic, only ops that read weights can tell.
enum class Weights { unread, read };

/// The modes of the CUDA backend that differ for such ops; none if there is no device.
inline std::vector<DeviceOptions> cuda_devices(Weights weights) {
  if (!has_cuda()) return {};
  std::vector<DeviceOptions> all;
  for (const DType activations : {DType::f16, DType::bf16})
    for (const CudaWeights kept : {CudaWeights::packed, CudaWeights::half})
      for (const bool deterministic : {false, true}) {
        if (weights == Weights::unread && (kept != CudaWeights::packed || deterministic)) continue;
        DeviceOptions options;
        options.kind = DeviceKind::cuda;
        options.cuda.compute_type = activations;
        options.cuda.weights = kept;
        options.cuda.deterministic = deterministic;
        all.push_back(options);
      }
  return all;
}

inline std::vector<DeviceOptions> devices(Weights weights) {
  std::vector<DeviceOptions> all = cpu_devices();
  for (const DeviceOptions& device : cuda_devices(weights)) all.push_back(device);
  return all;
}

inline std::string device_name(const testing::TestParamInfo<DeviceOptions>& info) {
  if (info.param.kind == DeviceKind::cpu)
    return std::string(name(info.param.isa)) + "_" + std::to_string(info.param.threads);
  const CudaOptions& cuda = info.param.cuda;
  return std::string("cuda_") + (cuda.weights == CudaWeights::packed ? "packed" : "half") +
         (cuda.compute_type == DType::f16 ? "_f16" : "_bf16") + (cuda.deterministic ? "_deterministic" : "");
}

inline DeviceMemory memory_of(Backend& backend) {
  return {[&backend](std::size_t bytes) {
            std::shared_ptr<Buffer> buffer = backend.alloc(bytes);
            return std::shared_ptr<void>(buffer, buffer->data());
          },
          [&backend](void* device, const void* host, std::size_t bytes) { backend.upload(device, host, bytes); },
          [&backend](void* host, const void* device, std::size_t bytes) {
            backend.synchronise();
            backend.download(host, device, bytes);
          }};
}

/// f32 between guard bands. `shift`: steps of 16 bytes between the start and a round address.
class Guarded : public GuardedArray<float> {
 public:
  Guarded(Backend& backend, std::size_t count, std::size_t shift = 0) : GuardedArray(memory_of(backend), count, 4 * shift) {}
  Guarded(Backend& backend, const std::vector<float>& values, std::size_t shift = 0)
      : GuardedArray(memory_of(backend), values, 4 * shift) {}
};

/// What matrix products read, in the backend's type, between guard bands.
class Activations {
 public:
  Activations(Backend& backend, std::size_t count, std::size_t shift = 0)
      : type_(backend.activation_type()),
        bytes_(memory_of(backend), count * static_cast<std::size_t>(bytes_of(type_)), 16 * shift) {}
  Activations(Backend& backend, const std::vector<float>& values, std::size_t shift = 0)
      : type_(backend.activation_type()), bytes_(memory_of(backend), encoded(values, type_), 16 * shift) {}
  void* data() const { return bytes_.data(); }
  std::vector<float> read() const { return decoded(bytes_.read(), type_); }

 private:
  DType type_;
  GuardedArray<std::byte> bytes_;
};

template <typename T>
std::unique_ptr<Buffer> upload(Backend& backend, const std::vector<T>& host) {
  auto memory = backend.alloc(std::max<std::size_t>(host.size(), 1) * sizeof(T));
  backend.upload(memory->data(), host.data(), host.size() * sizeof(T));
  return memory;
}

inline std::vector<float> random_floats(std::mt19937& rng, std::size_t count, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(rng);
  return values;
}

inline void expect_near_all(const std::vector<float>& got, const std::vector<double>& want, double relative,
                            double absolute) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], absolute + relative * std::abs(want[i])) << "at " << i;
}

class OpTest : public testing::TestWithParam<DeviceOptions> {
 protected:
  static constexpr std::uint32_t kSeed = 20240917;
  OpTest() : backend(create_backend(GetParam())) {}
  std::unique_ptr<Backend> backend;
  std::mt19937 rng{kSeed};
  testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(kSeed)};
};

#define WARPLOOM_OP_TEST(suite, weights) \
  class suite : public test::OpTest {};  \
  INSTANTIATE_TEST_SUITE_P(Devices, suite, testing::ValuesIn(test::devices(test::Weights::weights)), test::device_name)

}  // namespace warploom::test
