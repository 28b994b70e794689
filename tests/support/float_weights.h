// The CPU backend on weights dequantised to f32: no input is rounded to 8 bits then, so its logits are the measure for devices that
// round otherwise.
#pragma once

#include <memory>
#include <vector>

#include "backend/forwarding_backend.h"
#include "checkpoint/quants.h"
#include "core/weight_reader.h"

namespace warploom::test {

class FloatWeights final : public ForwardingBackend {
 public:
  explicit FloatWeights(const DeviceOptions& options = {}) : ForwardingBackend(create_cpu_backend(options)) {}

  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) override {
    std::vector<std::vector<float>> values;
    const auto read = reader_.read(parts);
    std::vector<WeightView> views(read.begin(), read.end());
    for (WeightView& view : views) {
      const auto cols = static_cast<std::size_t>(view.cols);
      std::vector<float>& all = values.emplace_back(static_cast<std::size_t>(view.rows) * cols);
      for (std::int64_t r = 0; r < view.rows; ++r)
        dequantize_row(view, r, std::span(all).subspan(static_cast<std::size_t>(r) * cols, cols));
      view.type = WeightType::f32;
      view.data = reinterpret_cast<const std::byte*>(all.data());
    }
    return ForwardingBackend::load_weight(views);
  }

  std::unique_ptr<Weight> load_gated_weight(const WeightView& gate, const WeightView& up) override {
    return Backend::load_gated_weight(gate, up);  // by load_weight()
  }

  std::string description() const override { return ForwardingBackend::description() + ", float weights"; }

 private:
  WeightReader reader_;
};

}  // namespace warploom::test
