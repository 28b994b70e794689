// Loads and stores, prefetches, fences. PTX ISA 9.7.9.8 to 9.7.9.16, 9.7.13.4.
#include "access.h"
#include "decoder.h"
#include "dependent_launch.h"
#include "races.h"
#include "reports.h"

namespace emulator {

using ptx::Space;
using ptx::Type;

namespace {

bool awaits_copy(const Warp& w, uint64_t address) {
  for (const Warp& other : w.block->warps)
    for (const AsyncCopy& c : other.async)
      if (address - c.to < c.bytes) return true;
  return false;
}

}  // namespace

void examine(const Warp& w, const Inst& in, int lane, uint64_t address, uint32_t bytes, uint32_t element, AccessKind kind) {
  const char* verb = kind == AccessKind::kRead ? "read of " : kind == AccessKind::kWrite ? "write of " : "atomic on ";
  const std::string what = verb + std::to_string(bytes) + " bytes at 0x" + [&] {
    char text[32];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(address));
    return std::string(text);
  }();
  const Region region = region_of(w, access_space(in));
  if (!region.holds(address, bytes))
    fault(w, in, lane, kFaultIllegalAddress,
          "out of bounds: " + what + ", outside of the state space: " + memory().describe(address));
  if (address % bytes != 0) fault(w, in, lane, kFaultMisaligned, "misaligned " + what);
  const uint8_t* shadow = memory().shadow(address);
  for (uint32_t i = 0; i < bytes; ++i) {
    if ((shadow[i] & kUninitialised) != 0) continue;
    const bool freed = (shadow[i] & kFreed) != 0;
    fault(w, in, lane, kFaultIllegalAddress,
          (freed ? "use after free: " : "out of bounds: ") + what + ", " + memory().describe(address + i));
  }
  if (kind == AccessKind::kWrite) return;
  for (uint32_t start = 0; start < bytes; start += element) {
    uint8_t any = 0;
    for (uint32_t i = 0; i < element; ++i) any |= shadow[start + i] & 2;
    if (any == 0 && (in.target & kUnusedElement << start / element) == 0 &&
        !(region_of(w, Space::kShared).holds(address, bytes) && reads_ahead(w, in)))
      fault(w, in, lane, kFaultLaunch,
            (awaits_copy(w, address + start) ? "not waited for: " + what + ", where a cp.async has yet to arrive, "
                                             : "uninitialised: " + what + ", ") +
                memory().describe(address + start));
  }
}

Space take_space(Encoder& e) {
  const std::pair<std::string_view, Space> names[] = {{"global", Space::kGlobal},      {"shared", Space::kShared},
                                                      {"shared::cta", Space::kShared}, {"local", Space::kLocal},
                                                      {"const", Space::kConst},        {"param", Space::kParam},
                                                      {"param::entry", Space::kParam}, {"param::func", Space::kParam}};
  for (const auto& [name, space] : names)
    if (e.take(name)) return space;
  return Space::kGeneric;
}

bool take_memory_modifiers(Encoder& e) {
  bool strong = false;
  for (const std::string_view name : {"volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "mmio"})
    strong = e.take(name) || strong;
  for (const std::string_view name : {"weak",
                                      "cta",
                                      "gpu",
                                      "sys",
                                      "nc",
                                      "ca",
                                      "cg",
                                      "cs",
                                      "lu",
                                      "cv",
                                      "wb",
                                      "wt",
                                      "L1::evict_normal",
                                      "L1::evict_unchanged",
                                      "L1::evict_first",
                                      "L1::evict_last",
                                      "L1::no_allocate",
                                      "L2::64B",
                                      "L2::128B",
                                      "L2::256B"})
    e.take(name);
  return strong;
}

uint32_t encode_address(Encoder& e, const ptx::Operand& o, Space space, std::vector<uint32_t>& sources, int64_t& offset) {
  if (o.kind != ptx::Operand::Kind::kAddress) e.unsupported("no address");
  offset = o.value;
  Addressing how = Addressing::kWide;
  if (o.reg >= 0) {
    const bool wide = e.width(o) == 8;
    if (space == Space::kShared)
      how = wide ? Addressing::kShared64 : Addressing::kShared32;
    else if (!wide)
      e.unsupported("32-bit address");
    sources.push_back(static_cast<uint32_t>(o.reg) << 2);
  } else if (o.name.empty()) {
    if (space == Space::kShared) how = Addressing::kShared64;
    sources.push_back(e.constant(0, 8));
  } else {
    if (space == Space::kShared) how = Addressing::kShared64;
    ptx::Operand symbol;
    symbol.kind = ptx::Operand::Kind::kSymbol;
    symbol.name = o.name;
    sources.push_back(e.src(symbol, Type::kB64));
  }
  return access_mode(how, space);
}

namespace {

// The race detector's part of a load or store. `values`: what a store brings, in lane order, or nullptr.
void track_lanes(Warp& w, const Inst& in, const uint64_t* address, uint32_t bytes, const void* values) {
  ++w.serial;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (!in_shared(w, address[i])) continue;
    if (values == nullptr) {
      track(w, in, i, address[i], bytes, AccessKind::kRead);
    } else {
      const bool same = std::memcmp(reinterpret_cast<const void*>(address[i]),
                                    static_cast<const uint8_t*>(values) + static_cast<uint32_t>(i) * bytes, bytes) == 0;
      track(w, in, i, address[i], bytes, AccessKind::kWrite, same);
    }
  }
}
bool may_be_shared(const Warp& w, const Inst& in, const uint64_t* address) {
  const Space space = access_space(in);
  return space == Space::kShared || (space == Space::kGeneric && in_shared(w, address[std::countr_zero(w.exec)]));
}

// R: as the register holds it; M: as memory does; V: elements of a vector.
template <class R, class M, int V>
void load_handler(Warp& w, const Inst& in) {
  constexpr uint32_t kStep = sizeof(M) * V;
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[V], address);
  const Region region = region_of(w, access_space(in));
  alignas(64) M values[kLanes * V];
  int first, count;
  const bool strong = (in.target & kSynchronises) != 0;
  const bool shared = may_be_shared(w, in, address);
  const Region& global = memory().global;
  if (strong) synchronise(w);
  if (is_run(w.exec, address, kStep, first, count)) {
    const uint64_t start = address[first];
    check_read(w, in, region, first, start, static_cast<uint32_t>(count) * kStep, sizeof(M), kStep);
    if (!shared && !strong && global.holds(start, 1))
      track_global(w, in, first, start, static_cast<uint64_t>(count), kStep, nullptr);
    if (!shared && global.holds(start, 1))
      track_dependence(w, in, first, start, static_cast<uint64_t>(count) * kStep, kStep, false);
    if (count == kLanes)
      std::memcpy(values, reinterpret_cast<const void*>(start), sizeof values);
    else
      std::memcpy(values + first * V, reinterpret_cast<const void*>(start), static_cast<size_t>(count) * kStep);
  } else {
    for (uint32_t left = w.exec; left != 0; left &= left - 1) {
      const int i = std::countr_zero(left);
      check_read(w, in, region, i, address[i], kStep, sizeof(M), kStep);
      if (!shared && !strong && global.holds(address[i], 1)) track_global(w, in, i, address[i], 1, kStep, nullptr);
      if (!shared && global.holds(address[i], 1)) track_dependence(w, in, i, address[i], kStep, kStep, false);
      std::memcpy(values + i * V, reinterpret_cast<const void*>(address[i]), kStep);
    }
  }
  if (shared && !strong) track_lanes(w, in, address, kStep, nullptr);
  for (int k = 0; k < V; ++k) {
    alignas(64) R out[kLanes];
    for (int i = 0; i < kLanes; ++i) out[i] = static_cast<R>(values[i * V + k]);
    store_lanes(w, in.op[k], out);
  }
}

template <class R, class M, int V>
void store_handler(Warp& w, const Inst& in) {
  constexpr uint32_t kStep = sizeof(M) * V;
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[V], address);
  const Region region = region_of(w, access_space(in));
  alignas(64) M values[kLanes * V];
  for (int k = 0; k < V; ++k) {
    const R* r = reg<R>(w, in.op[k]);
    for (int i = 0; i < kLanes; ++i) values[i * V + k] = static_cast<M>(r[i]);
  }
  int first, count;
  const bool strong = (in.target & kSynchronises) != 0;
  const bool shared = may_be_shared(w, in, address);
  const Region& global = memory().global;
  if (strong) synchronise(w);
  if (is_run(w.exec, address, kStep, first, count)) {
    const uint64_t start = address[first];
    check_write(w, in, region, first, start, static_cast<uint32_t>(count) * kStep, kStep);
    if (shared && !strong) track_lanes(w, in, address, kStep, values);
    if (!shared && !strong && global.holds(start, 1))
      track_global(w, in, first, start, static_cast<uint64_t>(count), kStep, values + first * V);
    if (!shared && global.holds(start, 1))
      track_dependence(w, in, first, start, static_cast<uint64_t>(count) * kStep, kStep, true);
    if (count == kLanes)
      std::memcpy(reinterpret_cast<void*>(start), values, sizeof values);
    else
      std::memcpy(reinterpret_cast<void*>(start), values + first * V, static_cast<size_t>(count) * kStep);
    return;
  }
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    check_write(w, in, region, i, address[i], kStep, kStep);
    if (!shared && !strong && global.holds(address[i], 1)) track_global(w, in, i, address[i], 1, kStep, values + i * V);
    if (!shared && global.holds(address[i], 1)) track_dependence(w, in, i, address[i], kStep, kStep, true);
  }
  if (shared && !strong) track_lanes(w, in, address, kStep, values);
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    std::memcpy(reinterpret_cast<void*>(address[i]), values + i * V, kStep);
  }
}

// Parameters of a kernel: the same in all lanes.
template <class R, class M, int V>
void load_param(Warp& w, const Inst& in) {
  M values[V];
  std::memcpy(values, reinterpret_cast<const void*>(w.block->launch->params + static_cast<uint64_t>(in.imm)), sizeof values);
  for (int k = 0; k < V; ++k) {
    alignas(64) R out[kLanes];
    for (int i = 0; i < kLanes; ++i) out[i] = static_cast<R>(values[k]);
    store_lanes(w, in.op[k], out);
  }
}

// Parameters of a call: bytes in the frame, lane by lane; in.target bytes from lane to lane.
template <class R, class M, int V>
void load_call_param(Warp& w, const Inst& in) {
  const uint8_t* base = reg<uint8_t>(w, in.op[V]) + in.imm;
  for (int k = 0; k < V; ++k) {
    alignas(64) R out[kLanes];
    for (uint32_t i = 0; i < kLanes; ++i) {
      M value;
      std::memcpy(&value, base + i * in.target + static_cast<size_t>(k) * sizeof(M), sizeof(M));
      out[i] = static_cast<R>(value);
    }
    store_lanes(w, in.op[k], out);
  }
}
template <class R, class M, int V>
void store_call_param(Warp& w, const Inst& in) {
  uint8_t* base = reg<uint8_t>(w, in.op[V]) + in.imm;
  for (int k = 0; k < V; ++k) {
    const R* r = reg<R>(w, in.op[k]);
    for (uint32_t i = 0; i < kLanes; ++i) {
      if (!lane_in(w.exec, static_cast<int>(i))) continue;
      const M value = static_cast<M>(r[i]);
      std::memcpy(base + i * in.target + static_cast<size_t>(k) * sizeof(M), &value, sizeof(M));
    }
  }
}

enum class Form : uint8_t { kLoad, kStore, kLoadParam, kLoadCallParam, kStoreCallParam };
template <class R, class M, int V>
Handler form_handler(Form form) {
  switch (form) {
    case Form::kLoad: return &load_handler<R, M, V>;
    case Form::kStore: return &store_handler<R, M, V>;
    case Form::kLoadParam: return &load_param<R, M, V>;
    case Form::kLoadCallParam: return &load_call_param<R, M, V>;
    default: return &store_call_param<R, M, V>;
  }
}
template <class R, class M>
Handler vector_handler(Encoder& e, Form form, size_t elements) {
  switch (elements) {
    case 1: return form_handler<R, M, 1>(form);
    case 2: return form_handler<R, M, 2>(form);
    case 4: return form_handler<R, M, 4>(form);
    default: e.unsupported("vector length");
  }
}
// Sign only matters where the register is wider than the memory's type.
Handler typed_handler(Encoder& e, Form form, Type type, int width, size_t elements) {
  const int bytes = ptx::size_of(type);
  const bool sign = type >= Type::kS8 && type <= Type::kS64;
  if (bytes == 1 && width <= 2)
    return sign ? vector_handler<uint16_t, int8_t>(e, form, elements) : vector_handler<uint16_t, uint8_t>(e, form, elements);
  if (bytes == 1 && width == 4)
    return sign ? vector_handler<uint32_t, int8_t>(e, form, elements) : vector_handler<uint32_t, uint8_t>(e, form, elements);
  if (bytes == 1 && width == 8)
    return sign ? vector_handler<uint64_t, int8_t>(e, form, elements) : vector_handler<uint64_t, uint8_t>(e, form, elements);
  if (bytes == 2 && width == 2) return vector_handler<uint16_t, uint16_t>(e, form, elements);
  if (bytes == 2 && width == 4)
    return sign ? vector_handler<uint32_t, int16_t>(e, form, elements)
                : vector_handler<uint32_t, uint16_t>(e, form, elements);
  if (bytes == 2 && width == 8)
    return sign ? vector_handler<uint64_t, int16_t>(e, form, elements)
                : vector_handler<uint64_t, uint16_t>(e, form, elements);
  if (bytes == 4 && width == 4) return vector_handler<uint32_t, uint32_t>(e, form, elements);
  if (bytes == 4 && width == 8)
    return sign ? vector_handler<uint64_t, int32_t>(e, form, elements)
                : vector_handler<uint64_t, uint32_t>(e, form, elements);
  if (bytes == 8 && width == 8) return vector_handler<uint64_t, uint64_t>(e, form, elements);
  e.unsupported("type and register");
}

void load_store(Encoder& e, bool load) {
  const uint32_t strong = take_memory_modifiers(e) ? kSynchronises : 0;
  const Space space = take_space(e);
  e.take_one({"v2", "v4"});
  const Type type = e.take_type();
  const ptx::Operand& data = e.operand(load ? 0 : 1);
  const ptx::Operand& address = e.operand(load ? 1 : 0);
  std::vector<ptx::Operand> elements =
      data.kind == ptx::Operand::Kind::kVector ? data.elements : std::vector<ptx::Operand>{data};
  int width = 0;
  for (const auto& o : elements) width = std::max(width, e.width(o));
  if (width == 0) width = std::max(ptx::size_of(type), 2);
  width = std::max(width, 2);
  std::vector<uint32_t> destinations, sources;
  for (const auto& o : elements) {
    if (load)
      destinations.push_back(o.kind == ptx::Operand::Kind::kWildcard ? e.temporary(width)
                                                                     : static_cast<uint32_t>(o.reg) << 2);
    else
      sources.push_back(o.kind == ptx::Operand::Kind::kRegister ? static_cast<uint32_t>(o.reg) << 2
                                                                : e.src(o, width == 2 ? Type::kB16 : type));
  }
  Form form = load ? Form::kLoad : Form::kStore;
  uint32_t mode;
  int64_t offset = address.value;
  const Encoder::Symbol symbol = address.reg < 0 ? e.symbol(address.name) : Encoder::Symbol{};
  if (space == Space::kParam && symbol.kind == Encoder::Symbol::Kind::kParam) {
    form = Form::kLoadParam;
    mode = 0;
    offset += static_cast<int64_t>(symbol.value);
  } else if (space == Space::kParam && symbol.kind == Encoder::Symbol::Kind::kCallParam) {
    form = load ? Form::kLoadCallParam : Form::kStoreCallParam;
    sources.push_back(static_cast<uint32_t>(symbol.value));
    mode = e.param_stride(static_cast<uint32_t>(symbol.value));
  } else {
    mode = encode_address(e, address, space, sources, offset) | strong;
    for (size_t k = 0; load && elements.size() > 1 && k < elements.size(); ++k)
      mode |= e.used_elsewhere(elements[k]) ? 0 : kUnusedElement << k;
  }
  Inst& in = e.emit(typed_handler(e, form, type, width, elements.size()), destinations, sources);
  in.target = mode;
  in.imm = offset;
  if (form == Form::kLoad || form == Form::kStore)
    e.accesses(load ? InstructionCost::Access::kRead : InstructionCost::Access::kWrite, elements.size(),
               elements.size() * static_cast<size_t>(ptx::size_of(type)));
}
void load(Encoder& e) { load_store(e, true); }
void store(Encoder& e) { load_store(e, false); }

void nothing(Warp&, const Inst&) {}
void ignored(Encoder& e) {  // prefetch, fence and the like: the host's memory is coherent, blocks run on real threads
  while (e.take_any()) {
  }
  e.emit(&nothing, {}, {});
}
void full_fence(Warp& w, const Inst&) {
  w.block->synchronised = true;
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
void fence(Encoder& e) {
  while (e.take_any()) {
  }
  e.emit(&full_fence, {}, {});
}

}  // namespace

void add_memory_ops(EncoderTable& table) {
  table.insert({{"ld", load},
                {"ldu", load},
                {"st", store},
                {"prefetch", ignored},
                {"prefetchu", ignored},
                {"membar", fence},
                {"fence", fence},
                {"discard", ignored},
                {"applypriority", ignored}});
}

}  // namespace emulator
