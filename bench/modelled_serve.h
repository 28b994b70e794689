// A workload sent to an engine on a clock that runs as a modelled device would: what the emulator of CUDA can tell of serving.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "serve.h"
#include "serving_result.h"

namespace warploom::bench {

/// What the device did since the last call.
struct DeviceWork {
  double seconds = 0;  // modelled
  double kernels = 0, bytes_moved = 0;
};

/// How large a KV cache the requests can use, in tokens: room for each of them, whether it runs, or has ended and left a prefix. No
/// more than 1 GiB of keys and values, or than the longest request takes if that is more: the emulator keeps them in host memory.
std::int64_t useful_cache_tokens(std::span<const Arrival> arrivals, const ModelShape& shape, const EngineOptions& options);

/// As serve(), but in modelled time: a step takes what `work` says after it, and requests arrive in between. Fills
/// ServingResult::modelled.
ServingResult serve_modelled(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, double rate,
                             const ServeOptions& options, const std::function<DeviceWork()>& work,
                             const std::function<void(const ServeProgress&)>& progress);

}  // namespace warploom::bench
