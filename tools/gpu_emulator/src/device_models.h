// The GPUs that the emulator can pass for, with the figures that properties, occupancy and modelled times rest on.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "emulator/emulator.h"

namespace emulator {

struct DeviceModel {
  const char* key;
  const char* name;
  int major, minor, processors, threads_per_processor, blocks_per_processor, registers, clock_khz, memory_clock_khz,
      bus_bits, l2_bytes;
  int shared_per_processor, shared_per_block_optin;
  // Of a multiprocessor and clock: results by class of instruction, mma.m16n8k16 of a warp.
  double integers, floats, doubles, specials, conversions, matrices;
  double l2_bytes_per_clock;  // of the whole device

  double clock() const { return clock_khz * 1e3; }
  double bandwidth() const { return 2.0 * memory_clock_khz * 1e3 * bus_bits / 8; }  // bytes a second, by the data sheet
  int warps() const { return threads_per_processor / 32; }
};

constexpr size_t kReservedShared = 1024;  // that the system keeps of each block's shared memory

std::span<const DeviceModel> device_models();
const DeviceModel* find_model(std::string_view key);  // nullptr where there is none
const DeviceModel& device_model();                    // the one that programs see (environment.h)

// `shared`: static and dynamic bytes of a block.
WarploomOccupancy occupancy(const DeviceModel& model, int registers, size_t shared, int threads);

}  // namespace emulator
