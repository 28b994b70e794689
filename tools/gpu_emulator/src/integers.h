// What the families of integer instructions share.
#pragma once

#include <type_traits>

#include "decoder.h"
#include "registers.h"

namespace emulator {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Calls f with a value of the type; fails for what is no integer of 16 to 64 bits.
template <class F>
Handler for_integer(Encoder& e, ptx::Type type, F f) {
  switch (type) {
    case ptx::Type::kU16:
    case ptx::Type::kB16: return f(uint16_t{});
    case ptx::Type::kS16: return f(int16_t{});
    case ptx::Type::kU32:
    case ptx::Type::kB32: return f(uint32_t{});
    case ptx::Type::kS32: return f(int32_t{});
    case ptx::Type::kU64:
    case ptx::Type::kB64: return f(uint64_t{});
    case ptx::Type::kS64: return f(int64_t{});
    default: e.unsupported("type");
  }
}

// Emits d, a, b (, c) with all operands of one type.
inline void emit_same(Encoder& e, ptx::Type type, Handler handler, size_t sources) {
  std::vector<uint32_t> s;
  for (size_t i = 1; i <= sources; ++i) s.push_back(e.src(e.operand(i), type));
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, s);
}

// An encoder of instructions on integers of one type T: d = expression of a (and b).
#define WARPLOOM_TWO_OPERANDS(name, expression)                                                        \
  void name(Encoder& e) {                                                                              \
    const ptx::Type type = e.take_type();                                                              \
    emit_same(e, type,                                                                                 \
              for_integer(e, type,                                                                     \
                          [](auto t) -> Handler {                                                      \
                            using T = decltype(t);                                                     \
                            return &binary<T, T, [](T a, T b) { return static_cast<T>(expression); }>; \
                          }),                                                                          \
              2);                                                                                      \
  }
#define WARPLOOM_ONE_OPERAND(name, expression)                                                   \
  void name(Encoder& e) {                                                                        \
    const ptx::Type type = e.take_type();                                                        \
    emit_same(e, type,                                                                           \
              for_integer(e, type,                                                               \
                          [](auto t) -> Handler {                                                \
                            using T = decltype(t);                                               \
                            return &unary<T, T, [](T a) { return static_cast<T>(expression); }>; \
                          }),                                                                    \
              1);                                                                                \
  }

}  // namespace emulator
