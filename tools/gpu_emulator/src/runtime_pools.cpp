// Device memory: at once (cudaMalloc), in a stream's order from pools with limits of their own (cudaMallocAsync), and as
// nodes of graphs. What a pool hands out is counted to the byte: a device rounds up to whole pages.
#include <algorithm>
#include <deque>
#include <map>

#include "graph.h"
#include "holdings.h"
#include "memory.h"
#include "runtime.h"

struct CUmemPoolHandle_st {
  uint64_t limit = 0;  // bytes; 0: the device's alone
  uint64_t threshold = 0;
  uint64_t used = 0, used_high = 0, reserved = 0, reserved_high = 0;
  int reuse[3] = {1, 1, 1};  // kept, not looked at: what is freed waits in quarantine

  void take(uint64_t bytes) {
    used += bytes;
    reserved = std::max(reserved, used);
    used_high = std::max(used_high, used);
    reserved_high = std::max(reserved_high, reserved);
  }
  void keep(uint64_t bytes) { reserved = std::max(used, std::min(reserved, bytes)); }
};

namespace emulator {
namespace {

using Pool = std::shared_ptr<CUmemPoolHandle_st>;

// Memory that a graph allocates when it runs: the address is fixed at the capture.
struct GraphMemory {
  uint64_t address, bytes;
  bool live = false;
  ~GraphMemory() { memory().heap->release(address); }

  void begin() {
    if (live)
      return set_device_error(cudaErrorInvalidValue, "a graph ran again while memory that it allocates was not freed");
    live = true;
    memory().mark(address, bytes, kUninitialised);
  }
  void end() {
    if (!live) return set_device_error(cudaErrorInvalidValue, "memory of a graph was freed before it was allocated");
    live = false;
    memory().mark(address, bytes, kFreed);
  }
};

struct Pools {
  Pool standard = std::make_shared<CUmemPoolHandle_st>(), current = standard;
  std::map<cudaMemPool_t, Pool> made;
  struct Piece {
    Pool pool;
    uint64_t bytes;
  };
  std::map<uint64_t, Piece> pieces;                          // handed out, by address
  std::deque<std::shared_ptr<Operation>> frees;              // on their way
  std::map<uint64_t, std::weak_ptr<GraphMemory>> of_graphs;  // by address
};
Pools& pools() {
  static Pools* const instance = new Pools;
  return *instance;
}

Pool find_pool(cudaMemPool_t handle) {
  if (handle == pools().standard.get()) return pools().standard;
  const auto found = pools().made.find(handle);
  return found == pools().made.end() ? nullptr : found->second;
}
std::shared_ptr<GraphMemory> find_graph_memory(const void* p) {
  const auto found = pools().of_graphs.find(reinterpret_cast<uint64_t>(p));
  return found == pools().of_graphs.end() ? nullptr : found->second.lock();
}

// 0 where there is no room, not even once all that is being freed is free. Such frees are waited for only where they must
// be.
uint64_t find_room(uint64_t bytes, const CUmemPoolHandle_st* pool) {
  std::deque<std::shared_ptr<Operation>>& frees = pools().frees;
  while (true) {
    uint64_t address = 0;
    if (pool == nullptr || pool->limit == 0 || (bytes <= pool->limit && pool->used <= pool->limit - bytes))
      address = memory().heap->allocate(bytes, 256, kUninitialised);
    if (address != 0 || frees.empty()) return address;
    const auto oldest = frees.front();
    frees.pop_front();
    wait_for(oldest);
  }
}

cudaError_t allocate_in_graph(void** p, size_t bytes, cudaStream_t stream) {
  const uint64_t address = find_room(bytes, nullptr);
  if (address == 0) return result(cudaErrorMemoryAllocation);
  memory().mark(address, bytes, kUnallocated);
  const auto piece = std::make_shared<GraphMemory>(GraphMemory{address, bytes});
  pools().of_graphs[address] = piece;
  *p = reinterpret_cast<void*>(address);
  enqueue(stream, {cudaGraphNodeTypeMemAlloc, [piece] { piece->begin(); }, nullptr});
  return cudaSuccess;
}

// The memory may be used once the stream has come to this point: what another stream does with it without waiting is a
// fault.
cudaError_t allocate_in_order(void** p, size_t bytes, const Pool& pool, cudaStream_t stream) {
  if (p == nullptr || pool == nullptr) return result(cudaErrorInvalidValue);
  *p = nullptr;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess || bytes == 0) return error;
  if (resolve(stream)->capture != nullptr) return allocate_in_graph(p, bytes, stream);
  const uint64_t address = find_room(bytes, pool.get());
  if (address == 0) return result(cudaErrorMemoryAllocation);
  pool->take(bytes);
  pools().pieces[address] = {pool, bytes};
  *p = reinterpret_cast<void*>(address);
  hold(Held::kDeviceMemory, *p, bytes);
  memory().mark(address, bytes, kUnallocated);
  auto begin = [=] {
    Allocation found;
    bool freed = true;
    if (memory().heap->find(address, found, freed) && !freed && found.address == address)
      memory().mark(address, bytes, kUninitialised);
    else
      set_device_error(cudaErrorInvalidValue, "memory of cudaMallocAsync was freed before its stream allocated it");
  };
  enqueue(stream, {cudaGraphNodeTypeMemAlloc, begin, nullptr});
  return cudaSuccess;
}

cudaError_t free_in_order(void* p, cudaStream_t stream) {
  if (const auto piece = find_graph_memory(p)) {
    enqueue(stream, {cudaGraphNodeTypeMemFree, [piece] { piece->end(); }, nullptr});
    return cudaSuccess;
  }
  const auto found = pools().pieces.find(reinterpret_cast<uint64_t>(p));
  if (found == pools().pieces.end() || resolve(stream)->capture != nullptr) return result(cudaErrorInvalidValue);
  drop(Held::kDeviceMemory, p);
  auto free = [p, piece = found->second] {
    piece.pool->used -= piece.bytes;
    memory().heap->release(reinterpret_cast<uint64_t>(p));
  };
  pools().pieces.erase(found);
  std::erase_if(pools().frees, [](const auto& operation) { return operation->done; });
  pools().frees.push_back(enqueue(stream, {cudaGraphNodeTypeMemFree, std::move(free), nullptr}));
  return cudaSuccess;
}

// At once; the device has finished.
cudaError_t release(void* p) {
  if (const auto piece = find_graph_memory(p)) return piece->end(), device_error();
  if (const auto found = pools().pieces.find(reinterpret_cast<uint64_t>(p)); found != pools().pieces.end()) {
    found->second.pool->used -= found->second.bytes;
    pools().pieces.erase(found);
  }
  drop(Held::kDeviceMemory, p);
  forget_managed(p);
  return memory().heap->release(reinterpret_cast<uint64_t>(p)) ? cudaSuccess : result(cudaErrorInvalidValue);
}

}  // namespace

void trim_pools() {
  pools().standard->keep(pools().standard->threshold);
  for (const auto& [handle, pool] : pools().made) pool->keep(pool->threshold);
}

cudaError_t allocate_device(void** p, size_t bytes) {
  if (p == nullptr) return result(cudaErrorInvalidValue);
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  const uint64_t address = find_room(bytes, nullptr);
  if (address == 0) return result(cudaErrorMemoryAllocation);
  *p = reinterpret_cast<void*>(address);
  hold(Held::kDeviceMemory, *p, bytes);
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaMalloc(void** p, size_t bytes) {
  WARPLOOM_DEVICE_ENTRY;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  return allocate_device(p, bytes);
}
// Rows of a pitched allocation begin where 512 bytes do.
cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height) {
  WARPLOOM_ENTRY;
  *pitch = (width + 511) / 512 * 512;
  return cudaMalloc(p, *pitch * height);
}
cudaError_t cudaMalloc3D(cudaPitchedPtr* p, cudaExtent extent) {
  WARPLOOM_ENTRY;
  p->xsize = extent.width;
  p->ysize = extent.height;
  return cudaMallocPitch(&p->ptr, &p->pitch, extent.width, extent.height * extent.depth);
}
cudaError_t cudaFree(void* p) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  finish_work();
  const cudaError_t freed = p == nullptr ? cudaSuccess : release(p);
  return device_error() != cudaSuccess ? result(device_error()) : freed;
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return allocate_in_order(p, bytes, pools().current, stream);
}
cudaError_t cudaMallocFromPoolAsync(void** p, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return allocate_in_order(p, bytes, find_pool(pool), stream);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (p == nullptr) return cudaSuccess;
  if (device_error() != cudaSuccess) {  // nothing runs any more
    release(p);
    return result(device_error());
  }
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  return free_in_order(p, stream);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  WARPLOOM_DEVICE_ENTRY;
  *total = memory().heap->limit();
  *free = *total - std::min<size_t>(*total, memory().heap->used());
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  WARPLOOM_DEVICE_ENTRY;
  if (properties->allocType != cudaMemAllocationTypePinned || properties->location.type != cudaMemLocationTypeDevice)
    return result(cudaErrorInvalidValue);
  if (properties->location.id != 0) return result(cudaErrorInvalidDevice);
  const auto made = std::make_shared<CUmemPoolHandle_st>();
  made->limit = properties->maxSize;
  pools().made[made.get()] = made;
  *pool = made.get();
  hold(Held::kPool, *pool);
  return cudaSuccess;
}
// What it handed out stays good until it is freed.
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  WARPLOOM_ENTRY;
  if (pools().current.get() == pool) pools().current = pools().standard;
  if (pools().made.erase(pool) == 0) return result(cudaErrorInvalidValue);
  drop(Held::kPool, pool);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  *pool = pools().standard.get();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  *pool = pools().current.get();
  return cudaSuccess;
}
cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  if (find_pool(pool) == nullptr) return result(cudaErrorInvalidValue);
  pools().current = find_pool(pool);
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t handle, cudaMemPoolAttr which, void* value) {
  WARPLOOM_ENTRY;
  const Pool pool = find_pool(handle);
  if (pool == nullptr) return result(cudaErrorInvalidValue);
  auto give = [value](uint64_t amount) { return *static_cast<uint64_t*>(value) = amount, cudaSuccess; };
  switch (which) {
    case cudaMemPoolReuseFollowEventDependencies:
    case cudaMemPoolReuseAllowOpportunistic:
    case cudaMemPoolReuseAllowInternalDependencies:
      *static_cast<int*>(value) = pool->reuse[which - cudaMemPoolReuseFollowEventDependencies];
      return cudaSuccess;
    case cudaMemPoolAttrReleaseThreshold: return give(pool->threshold);
    case cudaMemPoolAttrReservedMemCurrent: return give(pool->reserved);
    case cudaMemPoolAttrReservedMemHigh: return give(pool->reserved_high);
    case cudaMemPoolAttrUsedMemCurrent: return give(pool->used);
    case cudaMemPoolAttrUsedMemHigh: return give(pool->used_high);
    default: return result(cudaErrorInvalidValue);
  }
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr which, void* value) {
  WARPLOOM_ENTRY;
  const Pool pool = find_pool(handle);
  if (pool == nullptr) return result(cudaErrorInvalidValue);
  switch (which) {
    case cudaMemPoolReuseFollowEventDependencies:
    case cudaMemPoolReuseAllowOpportunistic:
    case cudaMemPoolReuseAllowInternalDependencies:
      pool->reuse[which - cudaMemPoolReuseFollowEventDependencies] = *static_cast<int*>(value);
      return cudaSuccess;
    case cudaMemPoolAttrReleaseThreshold: pool->threshold = *static_cast<uint64_t*>(value); return cudaSuccess;
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh:  // to 0: starts anew
      if (*static_cast<uint64_t*>(value) != 0) return result(cudaErrorInvalidValue);
      (which == cudaMemPoolAttrUsedMemHigh ? pool->used_high : pool->reserved_high) = 0;
      return cudaSuccess;
    default: return result(cudaErrorInvalidValue);
  }
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, size_t bytes) {
  WARPLOOM_ENTRY;
  const Pool pool = find_pool(handle);
  if (pool == nullptr) return result(cudaErrorInvalidValue);
  pool->keep(bytes);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc*, size_t) {
  WARPLOOM_ENTRY;
  return find_pool(pool) != nullptr ? cudaSuccess : result(cudaErrorInvalidValue);
}
cudaError_t cudaMemPoolGetAccess(cudaMemAccessFlags* flags, cudaMemPool_t pool, cudaMemLocation*) {
  WARPLOOM_ENTRY;
  if (find_pool(pool) == nullptr) return result(cudaErrorInvalidValue);
  *flags = cudaMemAccessFlagsProtReadWrite;
  return cudaSuccess;
}

}  // extern "C"
