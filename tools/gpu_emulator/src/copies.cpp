#include "copies.h"

#include <algorithm>
#include <cstring>

#include "memory.h"
#include "runtime.h"

namespace emulator {
namespace {

// What bytes that were never written look like on the host: no value that a test would expect.
constexpr uint8_t kNeverWritten = 0xa5;

bool on_device(uint64_t address) { return is_device_address(reinterpret_cast<const void*>(address)); }

void copy_bytes(uint64_t to, uint64_t from, size_t bytes) {
  const bool to_device = on_device(to), from_device = on_device(from);
  if (memory().holds(from) &&
      !check_allocated(from, bytes, from_device ? "copy from device memory" : "copy from pinned memory"))
    return;
  if (memory().holds(to) && !check_allocated(to, bytes, to_device ? "copy to device memory" : "copy to pinned memory"))
    return;
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  const uint8_t* shadow = memory().shadow(from);
  if (to_device && from_device)
    std::memmove(memory().shadow(to), shadow, bytes);  // what is uninitialised stays so
  else if (to_device)
    memory().mark(to, bytes, kInitialised);
  else if (from_device)
    for (size_t i = 0; i < bytes; ++i)
      if (shadow[i] == kUninitialised) reinterpret_cast<uint8_t*>(to)[i] = kNeverWritten;
}

void fill_bytes(uint64_t to, size_t bytes, uint32_t value, unsigned element) {
  if (memory().holds(to)) {
    if (!check_allocated(to, bytes, "fill")) return;
    memory().mark(to, bytes, kInitialised);
  }
  auto* p = reinterpret_cast<uint8_t*>(to);
  if (element == 1)
    std::memset(p, static_cast<int>(value), bytes);
  else
    for (size_t i = 0; i < bytes; ++i) p[i] = static_cast<uint8_t>(value >> 8 * (i % element));
}

template <class F>
void for_rows(const Box& box, F f) {
  for (size_t z = 0; z < box.depth; ++z)
    for (size_t y = 0; y < box.height; ++y) f(y, z);
}
uint64_t row(const Side& side, size_t y, size_t z) { return side.address + z * side.slice + y * side.pitch; }

void run(const Copy& copy) {
  for_rows(copy.box, [&](size_t y, size_t z) { copy_bytes(row(copy.to, y, z), row(copy.from, y, z), copy.box.width); });
}

bool fits(const Side& side, const Box& box) {
  return (box.height <= 1 || box.width <= side.pitch) && (box.depth <= 1 || box.height * side.pitch <= side.slice);
}
Side side_of(const cudaPitchedPtr& pointer, const cudaPos& at) {
  const size_t slice = pointer.pitch * pointer.ysize;
  return {reinterpret_cast<uint64_t>(pointer.ptr) + at.x + at.y * pointer.pitch + at.z * slice, pointer.pitch, slice};
}

}  // namespace

bool check_allocated(uint64_t address, size_t bytes, const char* what) {
  const Memory& m = memory();
  bool ok = m.holds(address) && (bytes == 0 || m.holds(address + bytes - 1));
  size_t at = 0;
  for (const uint8_t* shadow = m.shadow(address); ok && at < bytes; ++at)
    if ((shadow[at] & kUninitialised) == 0) break;
  if (ok && at == bytes) return true;
  set_device_error(cudaErrorIllegalAddress,
                   std::string(what) + " of " + std::to_string(bytes) + " bytes: " + m.describe(address + at));
  return false;
}

cudaError_t check_copy(const Copy& copy, cudaMemcpyKind kind) {
  if (!fits(copy.to, copy.box) || !fits(copy.from, copy.box)) return cudaErrorInvalidPitchValue;
  const auto *to = reinterpret_cast<const void*>(copy.to.address), *from = reinterpret_cast<const void*>(copy.from.address);
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
             from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool wrong_to = is_device_address(to) != to_device && !is_managed(to),
             wrong_from = is_device_address(from) != from_device && !is_managed(from);
  return wrong_to || wrong_from ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t check_fill(const Fill& fill) {
  const auto* to = reinterpret_cast<const void*>(fill.to.address);
  if (!is_device_address(to) && !is_pinned(to)) return cudaErrorInvalidValue;
  if (fill.element != 1 && fill.element != 2 && fill.element != 4) return cudaErrorInvalidValue;
  return fits(fill.to, fill.box) ? cudaSuccess : cudaErrorInvalidPitchValue;
}

bool check_target(const Copy& copy) {
  bool ok = true;
  for_rows(copy.box, [&](size_t y, size_t z) {
    ok = ok && check_allocated(row(copy.to, y, z), copy.box.width, "copy to device memory");
  });
  return ok;
}

Copy copy_of(const cudaMemcpy3DParms& p) {
  return {side_of(p.dstPtr, p.dstPos), side_of(p.srcPtr, p.srcPos), {p.extent.width, p.extent.height, p.extent.depth}};
}

Work copy_work(const Copy& copy) {
  return {cudaGraphNodeTypeMemcpy, [copy] { run(copy); }, nullptr};
}
Work copy_work_now(const Copy& copy) {
  const Box& box = copy.box;
  auto staged = std::make_shared<std::vector<uint8_t>>(box.width * box.height * box.depth);
  Copy from_staged = copy;
  from_staged.from = {reinterpret_cast<uint64_t>(staged->data()), box.width, box.width * box.height};
  for_rows(box, [&](size_t y, size_t z) {
    std::memcpy(reinterpret_cast<void*>(row(from_staged.from, y, z)), reinterpret_cast<void*>(row(copy.from, y, z)),
                box.width);
  });
  return {cudaGraphNodeTypeMemcpy, [from_staged, staged] { run(from_staged); }, nullptr};
}
Work fill_work(const Fill& fill) {
  auto rows = [fill] {
    for_rows(fill.box,
             [&](size_t y, size_t z) { fill_bytes(row(fill.to, y, z), fill.box.width, fill.value, fill.element); });
  };
  return {cudaGraphNodeTypeMemset, rows, nullptr};
}

}  // namespace emulator
