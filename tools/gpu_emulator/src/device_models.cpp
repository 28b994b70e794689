#include "device_models.h"

#include <algorithm>
#include <climits>

#include "environment.h"

namespace emulator {
namespace {

// NVIDIA's A100, H100, Ada and RTX Blackwell whitepapers; CUDA programming guide, tables of compute capabilities and of
// arithmetic throughput. The L2's bytes a clock are published for the A100 alone; the others' are taken from it.
// clang-format off
constexpr DeviceModel kModels[] = {
    {"a100", "A100-SXM4-80GB (emulated)", 8, 0, 108, 2048, 32, 65536, 1410000, 1593000, 5120, 40 << 20,
     164 << 10, 163 << 10, 64, 64, 32, 16, 16, 0.5, 5120},
    {"h100", "H100-SXM5-80GB (emulated)", 9, 0, 132, 2048, 32, 65536, 1980000, 2619000, 5120, 50 << 20,
     228 << 10, 227 << 10, 64, 128, 64, 16, 64, 0.5, 5120},
    {"h200", "H200-SXM-141GB (emulated)", 9, 0, 132, 2048, 32, 65536, 1980000, 3125000, 6144, 50 << 20,
     228 << 10, 227 << 10, 64, 128, 64, 16, 64, 0.5, 5120},
    {"rtx4090", "RTX 4090 (emulated)", 8, 9, 128, 1536, 24, 65536, 2520000, 10501000, 384, 72 << 20,
     100 << 10, 99 << 10, 64, 128, 2, 16, 16, 0.25, 2560},
    {"rtx5090", "RTX 5090 (emulated)", 12, 0, 170, 1536, 24, 65536, 2407000, 14001000, 512, 96 << 20,
     100 << 10, 99 << 10, 128, 128, 2, 16, 16, 0.25, 2560},
};
// clang-format on

// Whether `list` names all of them in order.
constexpr bool names_all(std::string_view list) {
  for (const DeviceModel& m : kModels) {
    if (!list.starts_with(m.key)) return false;
    list.remove_prefix(std::string_view(m.key).size());
    if (list.starts_with(", ")) list.remove_prefix(2);
  }
  return list.empty();
}
static_assert(names_all(WARPLOOM_EMULATOR_GPUS));

// PTX and the programming guide: registers go to warps in units of 256, in four parts of a multiprocessor.
constexpr int kRegisterUnit = 256, kParts = 4, kMostRegisters = 255;
constexpr size_t kSharedUnit = 128;

template <class T>
constexpr T round_up(T value, T to) {
  return (value + to - 1) / to * to;
}

int blocks_by_registers(const DeviceModel& m, int registers, int warps) {
  if (registers > kMostRegisters) return 0;
  const int warp = round_up(32 * registers, kRegisterUnit);
  if (warp == 0) return INT_MAX;
  if (warp * round_up(warps, kParts) > m.registers) return 0;
  return m.registers / kParts / warp * kParts / warps;
}

}  // namespace

std::span<const DeviceModel> device_models() { return kModels; }

const DeviceModel* find_model(std::string_view key) {
  for (const DeviceModel& m : kModels)
    if (key == m.key) return &m;
  return nullptr;
}

const DeviceModel& device_model() { return *environment().device; }

WarploomOccupancy occupancy(const DeviceModel& m, int registers, size_t shared, int threads) {
  WarploomOccupancy result = {0, 0, 0, "threads"};
  if (threads <= 0 || threads > 1024) return result;
  const int warps = (threads + 31) / 32;
  result.blocks = m.warps() / warps;
  auto limit = [&result](int blocks, const char* by) {
    if (blocks < result.blocks) result.blocks = blocks, result.limited_by = by;
  };
  limit(m.blocks_per_processor, "blocks");
  limit(blocks_by_registers(m, registers, warps), "registers");
  const size_t taken = round_up(shared + kReservedShared, kSharedUnit);
  const bool fits = shared <= static_cast<size_t>(m.shared_per_block_optin);
  limit(fits ? static_cast<int>(static_cast<size_t>(m.shared_per_processor) / taken) : 0, "shared memory");
  result.warps = result.blocks * warps;
  result.fraction = static_cast<double>(result.warps) / m.warps();
  return result;
}

}  // namespace emulator

extern "C" int warploom_emulator_occupancy(const char* gpu, int registers, size_t shared, int threads,
                                           WarploomOccupancy* out) {
  const emulator::DeviceModel* model = emulator::find_model(gpu);
  if (model != nullptr) *out = emulator::occupancy(*model, registers, shared, threads);
  return model != nullptr ? 1 : 0;
}
