// What the environment variables WARPLOOM_EMULATOR_* say. All of them are read and checked when the library is loaded; a value that
// cannot be taken ends the program with status 2 before it does anything, so that nothing ever runs with other settings than it was given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "device_models.h"

namespace emulator {

constexpr uint64_t kMostMemory = 32ull << 30;  // bytes that a device can have

struct Injection {
  std::string entry_point;  // "*": any, "kernel": a kernel
  int nth, error;           // the nth call fails with this cudaError_t
};

struct Environment {
  const DeviceModel* device;       // a100 unless said otherwise
  uint64_t memory;                 // bytes that the device has
  uint64_t seed = 1;               // of the order of independent streams
  uint64_t watchdog = 4ull << 30;  // warp instructions without the end of a block
  unsigned threads = 0;            // of the host; 0: all cores
  bool leaks = false;              // whether a program that leaks fails
  std::optional<Injection> injection;
  const DeviceModel *profile = nullptr, *ticker = nullptr;  // whose times are modelled and printed
};

const Environment& environment();

}  // namespace emulator
