// Every op test runs on every backend that this machine has; the CPU counts once per instruction set and thread count.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "core/half.h"

namespace warploom::test {

inline std::vector<DeviceOptions> cpu_devices() {
  std::vector<DeviceOptions> all;
  for (const CpuIsa isa : available_cpu_isas())
    for (const int threads : {1, 4}) all.push_back({DeviceKind::cpu, threads, isa, {}});
  return all;
}

/// Every way of CUDA's backend; none where there is no device.
inline std::vector<DeviceOptions> cuda_devices() {
#ifndef WARPLOOM_TESTS_HAVE_CUDA
  return {};  // without looking: every test is a process of its own, and CUDA's libraries take a while to load
#endif
  std::string missing;
  DeviceOptions any;
  any.kind = DeviceKind::cuda;
  if (!create_cuda_backend(any, missing)) return {};
  std::vector<DeviceOptions> all;
  for (const DType activations : {DType::f16, DType::bf16})
    for (const CudaWeights weights : {CudaWeights::packed, CudaWeights::half})
      for (const bool deterministic : {false, true}) {
        DeviceOptions options;
        options.kind = DeviceKind::cuda;
        options.cuda.compute_type = activations;
        options.cuda.weights = weights;
        options.cuda.deterministic = deterministic;
        all.push_back(options);
      }
  return all;
}

inline std::vector<DeviceOptions> devices() {
  std::vector<DeviceOptions> all = cpu_devices();
  for (const DeviceOptions& device : cuda_devices()) all.push_back(device);
  return all;
}

inline std::string device_name(const testing::TestParamInfo<DeviceOptions>& info) {
  if (info.param.kind == DeviceKind::cpu)
    return std::string(name(info.param.isa)) + "_" + std::to_string(info.param.threads);
  const CudaOptions& cuda = info.param.cuda;
  return std::string("cuda_") + (cuda.weights == CudaWeights::packed ? "packed" : "half") +
         (cuda.compute_type == DType::f16 ? "_f16" : "_bf16") + (cuda.deterministic ? "_deterministic" : "");
}

/// Half the distance between neighbouring numbers, as a share of the number: what one rounding to the type can be off by.
inline double rounding(DType type) { return type == DType::f32 ? 0x1p-24 : type == DType::f16 ? 0x1p-11 : 0x1p-8; }

inline std::size_t bytes_to_store(DType type, std::size_t count) { return count * static_cast<std::size_t>(bytes_of(type)); }
inline void narrow(DType type, const std::vector<float>& values, std::vector<std::byte>& out) {
  out.resize(bytes_to_store(type, values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = type == DType::f16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
    if (type == DType::f32)
      std::memcpy(out.data() + 4 * i, &values[i], 4);
    else
      std::memcpy(out.data() + 2 * i, &half, 2);
  }
}
inline std::vector<float> widen(DType type, const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / static_cast<std::size_t>(bytes_of(type)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t half;
    if (type == DType::f32)
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    else
      std::memcpy(&half, bytes.data() + 2 * i, 2),
          values[i] = type == DType::f16 ? half_to_float(half) : bfloat16_to_float(half);
  }
  return values;
}

/// Device memory of floats with guard bands around it, which the destructor checks. It starts `shift` 16-byte steps from a
/// round address.
template <typename Pointer>
class GuardedArray {
 public:
  GuardedArray(Backend& backend, DType type, std::size_t count, std::size_t shift)
      : backend_(backend),
        type_(type),
        count_(count),
        shift_(kBand + shift * 16 / static_cast<std::size_t>(bytes_of(type))),
        memory_(backend.alloc(bytes_to_store(type, shift_ + count + kBand))) {
    write(0, std::vector<float>(shift_ + count + kBand, kGuard));
  }
  GuardedArray(Backend& backend, DType type, const std::vector<float>& values, std::size_t shift)
      : GuardedArray(backend, type, values.size(), shift) {
    write(shift_, values);
  }
  ~GuardedArray() {
    const std::vector<float> host = read(0, shift_ + count_ + kBand);
    for (std::size_t i = 0; i < host.size(); ++i) {
      if (i >= shift_ && i < shift_ + count_) continue;
      if (host[i] != kGuard) {
        ADD_FAILURE() << "wrote outside the array, at "
                      << static_cast<std::ptrdiff_t>(i) - static_cast<std::ptrdiff_t>(shift_);
        return;
      }
    }
  }
  Pointer data() { return reinterpret_cast<Pointer>(at(shift_)); }
  std::vector<float> read() { return read(shift_, count_); }

 private:
  static constexpr std::size_t kBand = 64;
  static constexpr float kGuard = -12352.0f;  // every type holds it
  std::byte* at(std::size_t i) { return static_cast<std::byte*>(memory_->data()) + bytes_to_store(type_, i); }
  void write(std::size_t from, const std::vector<float>& values) {
    std::vector<std::byte> bytes;
    narrow(type_, values, bytes);
    backend_.upload(at(from), bytes.data(), bytes.size());
  }
  std::vector<float> read(std::size_t from, std::size_t count) {
    backend_.synchronise();
    std::vector<std::byte> bytes(bytes_to_store(type_, count));
    backend_.download(bytes.data(), at(from), bytes.size());
    return widen(type_, bytes);
  }
  Backend& backend_;
  DType type_;
  std::size_t count_, shift_;
  std::unique_ptr<Buffer> memory_;
};

class Guarded : public GuardedArray<float*> {
 public:
  Guarded(Backend& backend, std::size_t count, std::size_t shift = 0) : GuardedArray(backend, DType::f32, count, shift) {}
  Guarded(Backend& backend, const std::vector<float>& values, std::size_t shift = 0)
      : GuardedArray(backend, DType::f32, values, shift) {}
};

/// What matrix products read, in the backend's type.
class Activations : public GuardedArray<void*> {
 public:
  Activations(Backend& backend, std::size_t count, std::size_t shift = 0)
      : GuardedArray(backend, backend.activation_type(), count, shift) {}
  Activations(Backend& backend, const std::vector<float>& values, std::size_t shift = 0)
      : GuardedArray(backend, backend.activation_type(), values, shift) {}
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

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class OpTest : public testing::TestWithParam<DeviceOptions> {
 protected:
  OpTest() : backend(create_backend(GetParam())) {}
  std::unique_ptr<Backend> backend;
  std::mt19937 rng{20240917};
};

#define WARPLOOM_OP_TEST(suite)         \
  class suite : public test::OpTest {}; \
  INSTANTIATE_TEST_SUITE_P(Devices, suite, testing::ValuesIn(test::devices()), test::device_name)

}  // namespace warploom::test
