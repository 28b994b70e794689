// atom and red. PTX ISA 9.7.13.5, 9.7.13.6. A block runs on one host thread, so only global memory needs host atomics.
#include "access.h"
#include "decoder.h"
#include "dependent_launch.h"
#include "float_bits.h"
#include "races.h"

namespace emulator {
namespace {

using ptx::Space;
using ptx::Type;

// One lane's step: applies f to what is at `address`, returns the old value. Every scope is treated as the widest.
template <class T, class F>
T update(uint64_t address, F f) {
  T* p = reinterpret_cast<T*>(address);
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (true) {
    T next = f(old);
    if (__atomic_compare_exchange_n(p, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) return old;
  }
}

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct And {
  template <class T>
  static T apply(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T apply(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T a, T b) {
    return a ^ b;
  }
};
struct Exchange {
  template <class T>
  static T apply(T, T b) {
    return b;
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a > b ? a : b;
  }
};
struct Inc {
  template <class T>
  static T apply(T a, T b) {
    return a >= b ? T{0} : static_cast<T>(a + 1);
  }
};
struct Dec {
  template <class T>
  static T apply(T a, T b) {
    return a == 0 || a > b ? b : static_cast<T>(a - 1);
  }
};
template <class F, class B>
struct AddFloat {  // the bits are the memory's, the sum is the float's
  static B apply(B a, B b) {
    F sum = std::bit_cast<F>(a) + std::bit_cast<F>(b);
    if constexpr (sizeof(F) == 4) sum = canonical(sum);
    return std::bit_cast<B>(sum);
  }
};
template <bool kBfloat>
struct AddHalf {
  static uint16_t apply(uint16_t a, uint16_t b) {
    return kBfloat ? to_bfloat(double{from_bfloat(a)} + double{from_bfloat(b)})
                   : to_half(double{from_half(a)} + double{from_half(b)});
  }
};
template <bool kBfloat>
struct AddPair {
  static uint32_t apply(uint32_t a, uint32_t b) {
    const uint32_t low = AddHalf<kBfloat>::apply(static_cast<uint16_t>(a), static_cast<uint16_t>(b));
    return low |
           static_cast<uint32_t>(AddHalf<kBfloat>::apply(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16)))
               << 16;
  }
};

// op: destination, address, operand.
template <class T, class Op>
void atomic_handler(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[1], address);
  const T* operand = reg<T>(w, in.op[2]);
  const Region region = region_of(w, access_space(in));
  if ((in.target & kSynchronises) != 0) synchronise(w);
  if constexpr (std::is_same_v<Op, Exchange>) w.block->synchronised = true;
  alignas(64) T old[kLanes];
  ++w.serial;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const uint64_t at = address[i];
    check_read(w, in, region, i, at, sizeof(T), sizeof(T), sizeof(T));
    if (at >= w.shared_begin && at < w.shared_end) {
      if constexpr (std::is_same_v<Op, Exchange>)
        ++w.block->generation;  // a lock, or a message
      else
        track(w, in, i, at, sizeof(T), AccessKind::kAtomic);
      T* p = reinterpret_cast<T*>(at);
      old[i] = *p;
      *p = Op::apply(old[i], operand[i]);
    } else {
      if (memory().global.holds(at, 1)) {
        track_global_atomic(w, in, i, at, sizeof(T));
        track_dependence(w, in, i, at, sizeof(T), sizeof(T), true);
      }
      old[i] = update<T>(at, [&](T value) { return Op::apply(value, operand[i]); });
    }
  }
  store_lanes(w, in.op[0], old);
}

template <class T>
void compare_and_swap(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[1], address);
  const T *expected = reg<T>(w, in.op[2]), *value = reg<T>(w, in.op[3]);
  const Region region = region_of(w, access_space(in));
  synchronise(w);  // a lock, as far as the race detector knows
  alignas(64) T old[kLanes];
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    check_read(w, in, region, i, address[i], sizeof(T), sizeof(T), sizeof(T));
    if (memory().global.holds(address[i], 1)) {
      track_global_atomic(w, in, i, address[i], sizeof(T));
      track_dependence(w, in, i, address[i], sizeof(T), sizeof(T), true);
    }
    T seen = expected[i];
    __atomic_compare_exchange_n(reinterpret_cast<T*>(address[i]), &seen, value[i], false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    old[i] = seen;
  }
  store_lanes(w, in.op[0], old);
}

template <class Op>
Handler integer_handler(Encoder& e, Type type) {
  switch (type) {
    case Type::kU32:
    case Type::kB32: return &atomic_handler<uint32_t, Op>;
    case Type::kS32: return &atomic_handler<int32_t, Op>;
    case Type::kU64:
    case Type::kB64: return &atomic_handler<uint64_t, Op>;
    case Type::kS64: return &atomic_handler<int64_t, Op>;
    default: e.unsupported("type");
  }
}

// What ptxas makes of an atomic of shared memory, sm_80 to sm_120: an instruction for these, else a loop of compare-and-swap.
bool has_shared_instruction(std::string_view op, Type type) {
  if (op == "exch" || op == "cas") return true;
  return type == Type::kU32 || type == Type::kS32 || type == Type::kB32;
}

void encode(Encoder& e) {
  const bool reduction = e.in().parts[0] == "red";
  bool orders = false;
  for (const std::string_view name : {"acquire", "release", "acq_rel", "sc"}) orders = e.take(name) || orders;
  take_memory_modifiers(e);
  const Space space = take_space(e);
  const bool noftz = e.take("noftz");
  const std::string_view op = e.take_one({"add", "and", "or", "xor", "exch", "min", "max", "inc", "dec", "cas"});
  const Type type = e.take_type();
  (void)noftz;
  const size_t first = reduction ? 0 : 1;
  Handler handler = nullptr;
  if (op == "add") {
    switch (type) {
      case Type::kU32:
      case Type::kS32: handler = &atomic_handler<uint32_t, Add>; break;
      case Type::kU64:
      case Type::kS64: handler = &atomic_handler<uint64_t, Add>; break;
      case Type::kF32: handler = &atomic_handler<uint32_t, AddFloat<float, uint32_t>>; break;
      case Type::kF64: handler = &atomic_handler<uint64_t, AddFloat<double, uint64_t>>; break;
      case Type::kF16: handler = &atomic_handler<uint16_t, AddHalf<false>>; break;
      case Type::kBF16: handler = &atomic_handler<uint16_t, AddHalf<true>>; break;
      case Type::kF16x2: handler = &atomic_handler<uint32_t, AddPair<false>>; break;
      case Type::kBF16x2: handler = &atomic_handler<uint32_t, AddPair<true>>; break;
      default: e.unsupported("type");
    }
  } else if (op == "cas") {
    const int bytes = ptx::size_of(type);
    handler = bytes == 2   ? &compare_and_swap<uint16_t>
              : bytes == 4 ? &compare_and_swap<uint32_t>
                           : &compare_and_swap<uint64_t>;
  } else {
    handler = op == "and"    ? integer_handler<And>(e, type)
              : op == "or"   ? integer_handler<Or>(e, type)
              : op == "xor"  ? integer_handler<Xor>(e, type)
              : op == "exch" ? integer_handler<Exchange>(e, type)
              : op == "min"  ? integer_handler<Min>(e, type)
              : op == "max"  ? integer_handler<Max>(e, type)
              : op == "inc"  ? integer_handler<Inc>(e, type)
              : op == "dec"  ? integer_handler<Dec>(e, type)
                             : nullptr;
  }
  if (handler == nullptr) e.unsupported("operation");
  std::vector<uint32_t> sources;
  int64_t offset = 0;
  const uint32_t mode = encode_address(e, e.operand(first), space, sources, offset);
  sources.push_back(e.src(e.operand(first + 1), type));
  if (op == "cas") sources.push_back(e.src(e.operand(first + 2), type));
  const uint32_t d = reduction ? e.temporary(ptx::size_of(type)) : e.dst(e.operand(0), ptx::size_of(type));
  Inst& in = e.emit(handler, {d}, sources);
  in.target = mode | (orders ? kSynchronises : 0);
  in.imm = offset;
  e.accesses(InstructionCost::Access::kAtomic, 1, static_cast<size_t>(ptx::size_of(type)));
  e.last().cost.swaps = !has_shared_instruction(op, type);
}

}  // namespace

void add_atomic_ops(EncoderTable& table) { table.insert({{"atom", encode}, {"red", encode}}); }

}  // namespace emulator
