// cp.async and its waits. PTX ISA 9.7.9.25. A copy is made when the issuing thread waits for it, as late as PTX allows:
// until then its destination holds nothing that may be read, and its source is not read.
#include "access.h"
#include "decoder.h"
#include "dependent_launch.h"
#include "races.h"

namespace emulator {
namespace {

using ptx::Space;
using ptx::Type;

// Bytes beyond the source size become zero.
template <uint32_t kBytes>
void copy_async(Warp& w, const Inst& in) {
  alignas(64) uint64_t to[kLanes];
  lane_addresses(w, in, in.op[0], to);
  const uint64_t* from = reg<uint64_t>(w, in.op[1]);
  const uint32_t* size = reg<uint32_t>(w, in.op[2]);
  const uint64_t source_offset = static_cast<uint64_t>(*static_cast<const int64_t*>(in.extra));
  const Region shared = region_of(w, Space::kShared), global = region_of(w, Space::kGlobal);
  Inst read = in;  // for reports
  read.target = access_mode(Addressing::kWide, Space::kGlobal);
  ++w.serial;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const uint64_t source = from[i] + source_offset;
    if (size[i] > kBytes) fault(w, in, i, kFaultInstruction, "cp.async with a source size above its copy size");
    if (size[i] > 0 && source % kBytes != 0) fault(w, in, i, kFaultMisaligned, "misaligned source of cp.async");
    for (uint32_t b = 0; b < size[i]; ++b) check_read(w, read, global, i, source + b, 1, 1, 1);
    if (size[i] > 0) track_dependence(w, read, i, source, size[i], size[i], false);
    check_write(w, in, shared, i, to[i], kBytes, kBytes);
    track(w, in, i, to[i], kBytes, AccessKind::kWrite);
    memory().mark(to[i], kBytes, kUninitialised);
    w.async.push_back({to[i], source, static_cast<uint8_t>(i), kBytes, static_cast<uint8_t>(size[i]), w.async_groups[i]});
  }
}

void commit(Warp& w, const Inst&) {
  for (int i = 0; i < kLanes; ++i) w.async_groups[i] += lane_in(w.exec, i) ? 1 : 0;
}

// Makes the copies of `lane` in groups before `end`.
void finish(Warp& w, const Inst& in, int lane, uint32_t end) {
  std::erase_if(w.async, [&](const AsyncCopy& c) {
    if (c.lane != lane || c.group >= end) return false;
    uint8_t bytes[16] = {};
    std::memcpy(bytes, reinterpret_cast<const void*>(c.from), c.source_bytes);
    std::memcpy(reinterpret_cast<void*>(c.to), bytes, c.bytes);
    memory().mark(c.to, c.bytes, kInitialised);
    track(w, in, lane, c.to, c.bytes, AccessKind::kWrite);
    return true;
  });
}

// All but the in.imm latest groups; with in.imm < 0 what is in no group, too.
void wait(Warp& w, const Inst& in) {
  if (w.async.empty()) return;
  ++w.serial;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const uint32_t open = w.async_groups[i];
    const uint32_t end = in.imm < 0 ? open + 1 : open - std::min(open, static_cast<uint32_t>(in.imm));
    finish(w, in, i, end);
  }
}

// Brings memory to L2: only its bounds matter here. PTX ISA 9.7.9.25.4.2.
void prefetch(Warp& w, const Inst& in) {
  const uint64_t* from = reg<uint64_t>(w, in.op[0]);
  const uint32_t* size = reg<uint32_t>(w, in.op[1]);
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const uint64_t address = from[i] + static_cast<uint64_t>(in.imm);
    if (address % 16 != 0 || size[i] % 16 != 0)
      fault(w, in, i, kFaultMisaligned, "cp.async.bulk.prefetch.L2 of an address or size that is no multiple of 16");
    bool initialised;
    if (!memory().global.holds(address, size[i]) || !all_allocated(memory().shadow(address), size[i], initialised))
      fault(w, in, i, kFaultIllegalAddress,
            "out of bounds: cp.async.bulk.prefetch.L2 of " + std::to_string(size[i]) + " bytes, " +
                memory().describe(address));
  }
}

void bulk(Encoder& e) {
  if (!e.take("prefetch") || !e.take("L2") || !e.take("global")) e.unsupported();
  std::vector<uint32_t> sources;
  int64_t offset = 0;
  encode_address(e, e.operand(0), Space::kGlobal, sources, offset);
  sources.push_back(e.src(e.operand(1), Type::kU32));
  e.emit(&prefetch, {}, sources).imm = offset;
}

void cp(Encoder& e) {
  if (!e.take("async")) e.unsupported();
  if (e.take("bulk")) {
    bulk(e);
    return;
  }
  if (e.take("mbarrier")) {
    encode_copy_arrival(e);
    return;
  }
  if (e.take("commit_group")) {
    e.emit(&commit, {}, {});
    return;
  }
  if (const std::string_view what = e.take_one({"wait_all", "wait_group"}); !what.empty()) {
    e.emit(&wait, {}, {}).imm = what == "wait_all" ? -1 : e.operand(0).value;
    return;
  }
  take_memory_modifiers(e);
  e.take("shared"), e.take("shared::cta"), e.take("global");
  std::vector<uint32_t> sources;
  int64_t to_offset = 0, from_offset = 0;
  const uint32_t mode = encode_address(e, e.operand(0), Space::kShared, sources, to_offset);
  encode_address(e, e.operand(1), Space::kGlobal, sources, from_offset);
  const int64_t bytes = e.operand(2).value;
  sources.push_back(e.operands() > 3 ? e.src(e.operand(3), Type::kB32) : e.constant(static_cast<uint64_t>(bytes), 4));
  Inst& in = e.emit(bytes == 4 ? &copy_async<4> : bytes == 8 ? &copy_async<8> : &copy_async<16>, {}, sources);
  in.target = mode;
  in.imm = to_offset;
  in.extra = e.keep(from_offset);
  e.accesses(InstructionCost::Access::kCopy, 0, static_cast<size_t>(bytes));
}

}  // namespace

void finish_async_copies(Warp& w, const Inst& in, int lane) {
  ++w.serial;
  finish(w, in, lane, w.async_groups[lane] + 1);
}

void add_async_ops(EncoderTable& table) { table.insert({{"cp", cp}}); }

}  // namespace emulator
