#include <cuda_runtime_api.h>

#include <memory>

#include <fmt/format.h>

#include "tools/sampler_check/devices.h"
#include "warploom/cuda/sampling.h"
#include "warploom/error.h"

namespace warploom::sampler_check {

namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw BackendError(fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

// Device memory that grows and is kept from call to call.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }

  void* room(std::size_t bytes) {
    if (bytes <= bytes_) return data_;
    check(cudaFree(data_), "freeing device memory");
    data_ = nullptr, bytes_ = 0;
    if (cudaMalloc(&data_, bytes) != cudaSuccess)
      throw OutOfMemory(fmt::format("the sampler check needs {} bytes of device memory at once", bytes));
    bytes_ = bytes;
    return data_;
  }

  template <typename T>
  const T* upload(std::span<const T> values) {
    void* place = room(values.size_bytes());
    check(cudaMemcpy(place, values.data(), values.size_bytes(), cudaMemcpyHostToDevice), "copying to the device");
    return static_cast<const T*>(place);
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
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

constexpr int kLeastMajor = 8;  // of the compute capability, below which there are no kernels

cudaDeviceProp current_gpu() {
  int device = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&device), "asking for the current GPU");
  check(cudaGetDeviceProperties(&properties, device), "asking what the GPU is");
  return properties;
}

}  // namespace

std::optional<std::string> cuda_missing() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    return fmt::format(
        "no GPU can be used ({}); it takes an NVIDIA GPU and a driver for CUDA 13, see nvidia-smi, or take --device cpu",
        error != cudaSuccess ? cudaGetErrorString(error) : "there is none");
  const cudaDeviceProp gpu = current_gpu();
  if (gpu.major < kLeastMajor)
    return fmt::format("{} has compute capability {}.{}; the kernels need {}.0 or more; take --device cpu", gpu.name,
                       gpu.major, gpu.minor, kLeastMajor);
  return std::nullopt;
}

Device cuda_device() {
  if (const auto missing = cuda_missing()) throw BackendError(*missing);
  const cudaDeviceProp properties = current_gpu();
  const auto sampler = std::make_shared<CudaSampler>();
  return {fmt::format("cuda: {}, compute capability {}.{}", properties.name, properties.major, properties.minor),
          [sampler](std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
            sampler->draw(logits, rows, tokens);
          }};
}

}  // namespace warploom::sampler_check
