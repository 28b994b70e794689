// How handlers read and write registers: 32 lanes side by side, in loops that the compiler turns into vector code.
#pragma once

#include "machine.h"

namespace emulator {

template <class T>
inline T* reg(Warp& w, uint32_t code) {
  return reinterpret_cast<T*>(w.bank[code & 1] + (code & ~3u));
}

inline uint32_t predicate(Warp& w, uint32_t code) {
  const uint32_t value = *reg<uint32_t>(w, code);
  return (code & 2) != 0 ? ~value : value;
}

inline void set_predicate(Warp& w, uint32_t code, uint32_t value) {
  uint32_t& p = *reg<uint32_t>(w, code);
  p = (p & ~w.exec) | (value & w.exec);
}

inline bool lane_in(uint32_t mask, int lane) { return ((mask >> lane) & 1) != 0; }

// Where all lanes that live take part, lanes that don't exist may be written too.
template <class T>
inline void store_lanes(Warp& w, uint32_t code, const T* values) {
  T* out = reg<T>(w, code);
  if (w.exec == w.live) {
    for (int i = 0; i < kLanes; ++i) out[i] = values[i];
  } else {
    const uint32_t exec = w.exec;
    for (int i = 0; i < kLanes; ++i) out[i] = lane_in(exec, i) ? values[i] : out[i];
  }
}

template <class D, class F, class... S>
inline void map_lanes(Warp& w, uint32_t code, F f, const S*... s) {
  if (w.exec == w.live) {
    D* out = reg<D>(w, code);
#pragma GCC ivdep
    for (int i = 0; i < kLanes; ++i) out[i] = static_cast<D>(f(s[i]...));
  } else {
    alignas(64) D t[kLanes];
#pragma GCC ivdep
    for (int i = 0; i < kLanes; ++i) t[i] = static_cast<D>(f(s[i]...));
    store_lanes(w, code, t);
  }
}

// Handlers from stateless functions: D destination, S source lanes.
template <class D, class S, auto F>
void unary(Warp& w, const Inst& in) {
  map_lanes<D>(w, in.op[0], F, reg<S>(w, in.op[1]));
}
template <class D, class S, auto F>
void binary(Warp& w, const Inst& in) {
  map_lanes<D>(w, in.op[0], F, reg<S>(w, in.op[1]), reg<S>(w, in.op[2]));
}
template <class D, class A, class B, auto F>
void binary_mixed(Warp& w, const Inst& in) {
  map_lanes<D>(w, in.op[0], F, reg<A>(w, in.op[1]), reg<B>(w, in.op[2]));
}
template <class D, class A, class B, class C, auto F>
void ternary(Warp& w, const Inst& in) {
  map_lanes<D>(w, in.op[0], F, reg<A>(w, in.op[1]), reg<B>(w, in.op[2]), reg<C>(w, in.op[3]));
}

// One bit a lane from a comparison.
template <class S, class F>
inline uint32_t mask_of(const S* a, const S* b, F f) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(f(a[i], b[i])) << i;
  return mask;
}

}  // namespace emulator
