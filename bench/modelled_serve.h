// A workload sent to an engine on a clock that runs as a modelled device would: what the emulator of CUDA can tell of serving.
#pragma once

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

/// As serve(), but in modelled time: a step takes what `work` says after it, and requests arrive in between. Fills
/// ServingResult::modelled.
ServingResult serve_modelled(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, double rate,
                             const ServeOptions& options, const std::function<DeviceWork()>& work,
                             const std::function<void(const ServeProgress&)>& progress);

}  // namespace warploom::bench
