// One decode step of a whole model.
#pragma once

#include <functional>
#include <memory>

#include "gpu/gpu_ops.h"
#include "modelled_serve.h"
#include "warploom/model.h"

namespace warploom::bench {

/// Steps in which `batch` sequences get a token each, after prompts of `context` tokens: from the call to the tokens on the host, or as
/// `work` says if it is given. Throws InvalidArgument if they do not
/// fit the model's context, BackendError if a sequence ends before all are timed.
GpuMeasurement measure_step(const std::shared_ptr<const Model>& model, std::int64_t context, std::int64_t batch, int repeats,
                            const std::function<DeviceWork()>& work);

}  // namespace warploom::bench
