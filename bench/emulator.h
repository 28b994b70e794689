// The emulator of CUDA, if this process runs on it: counters, and times modelled on a GPU.
#pragma once

#include <optional>
#include <string>

#include "modelled_serve.h"

namespace warploom::bench {

/// A function that says what the device did since its last call, with times modelled on `gpu` (what emulate() returned);
/// counting starts. Empty if no emulator was loaded: call it when a model is on CUDA. Throws InvalidArgument if `gpu` is not known.
std::optional<std::function<DeviceWork()>> emulated_work(const std::string& gpu);

}  // namespace warploom::bench
