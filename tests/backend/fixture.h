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

inline std::vector<DeviceOptions> devices() {
  std::vector<DeviceOptions> all;
  for (const CpuIsa isa : available_cpu_isas())
    for (const int threads : {1, 4}) all.push_back({DeviceKind::cpu, threads, isa});
  return all;
}

inline std::string device_name(const testing::TestParamInfo<DeviceOptions>& info) {
  return std::string(name(info.param.isa)) + "_" + std::to_string(info.param.threads);
}

/// Device memory of floats with guard bands around it, which the destructor checks.
class Guarded {
 public:
  Guarded(Backend& backend, std::size_t count, std::size_t shift = 0)
      : backend_(backend), count_(count), shift_(kBand + shift), memory_(backend.alloc((count + 2 * kBand + shift) * sizeof(float))) {
    std::vector<float> host(count + 2 * kBand + shift, kGuard);
    backend.upload(memory_->data(), host.data(), host.size() * sizeof(float));
  }
  Guarded(Backend& backend, const std::vector<float>& values, std::size_t shift = 0) : Guarded(backend, values.size(), shift) {
    backend.upload(data(), values.data(), values.size() * sizeof(float));
  }
  ~Guarded() {
    std::vector<float> host(count_ + kBand + shift_);
    backend_.download(host.data(), memory_->data(), host.size() * sizeof(float));
    for (std::size_t i = 0; i < host.size(); ++i) {
      if (i >= shift_ && i < shift_ + count_) continue;
      if (host[i] != kGuard) {
        ADD_FAILURE() << "wrote outside the array, at " << static_cast<std::ptrdiff_t>(i) - static_cast<std::ptrdiff_t>(shift_);
        return;
      }
    }
  }
  float* data() { return static_cast<float*>(memory_->data()) + shift_; }
  std::vector<float> read() {
    backend_.synchronise();
    std::vector<float> host(count_);
    backend_.download(host.data(), data(), count_ * sizeof(float));
    return host;
  }

 private:
  static constexpr std::size_t kBand = 64;
  static constexpr float kGuard = -12345.75f;
  Backend& backend_;
  std::size_t count_, shift_;
  std::unique_ptr<DeviceMemory> memory_;
};

template <typename T>
std::unique_ptr<DeviceMemory> upload(Backend& backend, const std::vector<T>& host) {
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

inline void expect_near_all(const std::vector<float>& got, const std::vector<double>& want, double relative, double absolute) {
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

#define WARPLOOM_OP_TEST(suite)             \
  class suite : public test::OpTest {};     \
  INSTANTIATE_TEST_SUITE_P(Devices, suite, testing::ValuesIn(test::devices()), test::device_name)

}  // namespace warploom::test
