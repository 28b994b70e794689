#include <cuda_runtime_api.h>

#include <memory>

#include <fmt/format.h>

#include "cuda/runtime/check.h"
#include "cuda/runtime/gpu.h"
#include "cuda/runtime/raii.h"
#include "tools/sampler_check/devices.h"
#include "warploom/cuda/sampling.h"
#include "warploom/error.h"

namespace warploom::sampler_check {

namespace {

using cuda::check;

// Device memory that grows and is kept from call to call.
class Buffer {
 public:
  void* room(std::size_t bytes) {
    if (bytes > memory_.bytes()) {
      memory_ = {};  // so that both never need to fit
      memory_ = cuda::DeviceBuffer(bytes, "the sampler check's rows");
    }
    return memory_.data();
  }

  template <typename T>
  const T* upload(std::span<const T> values) {
    void* place = room(values.size_bytes());
    check(cudaMemcpy(place, values.data(), values.size_bytes(), cudaMemcpyHostToDevice), "copying to the device");
    return static_cast<const T*>(place);
  }

 private:
  cuda::DeviceBuffer memory_;
};

class CudaSampler {
 public:
  void draw(std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
    if (rows.empty()) return;
    const auto column = [&](Buffer& buffer, auto value_of) {
      std::vector<decltype(value_of(rows[0]))> values;
      values.reserve(rows.size());
      for (const SamplingInput& row : rows) values.push_back(value_of(row));
      return buffer.upload(std::span<const decltype(value_of(rows[0]))>(values));
    };
    SampleArgs args;
    args.logits = logits_.upload(logits);
    args.rows = static_cast<std::int64_t>(rows.size());
    args.vocab_size = args.row_stride = static_cast<std::int64_t>(logits.size());
    args.row_index = column(index_, [](const SamplingInput&) { return std::int64_t{0}; });
    args.temperature = column(temperature_, [](const SamplingInput& row) { return row.params.temperature; });
    args.top_k = column(top_k_, [](const SamplingInput& row) { return static_cast<std::int32_t>(row.params.top_k); });
    args.top_p = column(top_p_, [](const SamplingInput& row) { return row.params.top_p; });
    args.min_p = column(min_p_, [](const SamplingInput& row) { return row.params.min_p; });
    args.seed = column(seed_, [](const SamplingInput& row) { return row.params.seed; });
    args.position = column(position_, [](const SamplingInput& row) { return row.position; });
    args.subsequence = column(subsequence_, [](const SamplingInput& row) { return row.subsequence; });
    args.token = static_cast<TokenId*>(token_.room(tokens.size_bytes()));
    args.status = static_cast<SampleStatus*>(status_.room(rows.size() * sizeof(SampleStatus)));
    const std::size_t bytes = cuda::sample_workspace_bytes(args);
    if (bytes > 0) args.workspace = {workspace_.room(bytes), bytes};
    cuda::sample(args, nullptr);
    check(cudaMemcpy(tokens.data(), args.token, tokens.size_bytes(), cudaMemcpyDeviceToHost), "drawing on the device");
  }

 private:
  Buffer logits_, index_, temperature_, top_k_, top_p_, min_p_, seed_, position_, subsequence_, token_, status_, workspace_;
};

}  // namespace

std::optional<std::string> cuda_missing() {
  const std::string why = cuda::why_unusable(0);
  return why.empty() ? std::nullopt : std::optional("device cuda: " + why);
}

Device cuda_device() {
  if (const auto missing = cuda_missing()) throw BackendError(*missing);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "asking what the GPU is");
  const auto sampler = std::make_shared<CudaSampler>();
  return {fmt::format("cuda: {}, compute capability {}.{}", properties.name, properties.major, properties.minor),
          [sampler](std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
            sampler->draw(logits, rows, tokens);
          }};
}

}  // namespace warploom::sampler_check
