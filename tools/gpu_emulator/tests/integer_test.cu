// Integer instructions against plain host code, on random operands and the edges of the types.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>

#include "emulated_device.h"

namespace {

constexpr int kCount = 1 << 14;

std::vector<uint32_t> operands(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> values(kCount);
  const uint32_t edges[] = {0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff, 0x8000, 255};
  for (uint32_t& v : values) {
    v = static_cast<uint32_t>(random());
    if (random() % 3 == 0)
      v = edges[random() % 12];
    else if (random() % 4 == 0)
      v %= 80;  // bit positions and lengths
  }
  return values;
}

template <class Op>
__global__ void apply_kernel(const uint32_t* a, const uint32_t* b, const uint32_t* c, uint64_t* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = Op::device(a[i], b[i], c[i]);
}

template <class Op>
void compare(const char* name) {
  SCOPED_TRACE(name);
  const auto a = operands(1), b = operands(2), c = operands(3);
  DeviceBuffer<uint32_t> da(a), db(b), dc(c);
  DeviceBuffer<uint64_t> out(kCount);
  apply_kernel<Op><<<(kCount + 255) / 256, 256>>>(da.data(), db.data(), dc.data(), out.data(), kCount);
  const auto got = out.host();
  int wrong = 0;
  for (int i = 0; i < kCount && wrong < 3; ++i) {
    const uint64_t expected = Op::host(a[i], b[i], c[i]);
    if (got[i] == expected) continue;
    ++wrong;
    ADD_FAILURE() << std::hex << "a " << a[i] << " b " << b[i] << " c " << c[i] << " got " << got[i] << " expected "
                  << expected << warploom_emulator_report();
  }
}

// An instruction of 32-bit operands and result; the unused ones are read, so that all texts have three.
#define WARPLOOM_OP(name, text, expression)                                                                       \
  struct name {                                                                                                   \
    static __device__ uint64_t device(uint32_t a, uint32_t b, uint32_t c) {                                       \
      uint32_t d;                                                                                                 \
      asm("{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; " text "; }" : "=r"(d) : "r"(a), "r"(b), "r"(c));         \
      return d;                                                                                                   \
    }                                                                                                             \
    static uint64_t host([[maybe_unused]] uint32_t a, [[maybe_unused]] uint32_t b, [[maybe_unused]] uint32_t c) { \
      [[maybe_unused]] const int32_t sa = static_cast<int32_t>(a), sb = static_cast<int32_t>(b),                  \
                                     sc = static_cast<int32_t>(c);                                                \
      return static_cast<uint32_t>(expression);                                                                   \
    }                                                                                                             \
  };
// The same with a 64-bit result.
#define WARPLOOM_WIDE(name, text, expression)                                                                     \
  struct name {                                                                                                   \
    static __device__ uint64_t device(uint32_t a, uint32_t b, uint32_t c) {                                       \
      uint64_t d;                                                                                                 \
      asm("{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; " text "; }" : "=l"(d) : "r"(a), "r"(b), "r"(c));         \
      return d;                                                                                                   \
    }                                                                                                             \
    static uint64_t host([[maybe_unused]] uint32_t a, [[maybe_unused]] uint32_t b, [[maybe_unused]] uint32_t c) { \
      [[maybe_unused]] const int32_t sa = static_cast<int32_t>(a), sb = static_cast<int32_t>(b),                  \
                                     sc = static_cast<int32_t>(c);                                                \
      return static_cast<uint64_t>(expression);                                                                   \
    }                                                                                                             \
  };

uint32_t byte_of(uint32_t a, uint32_t b, uint32_t nibble) {
  const uint32_t byte = ((nibble & 4) != 0 ? b : a) >> (8 * (nibble & 3)) & 255;
  return (nibble & 8) == 0 ? byte : (byte & 128) != 0 ? 255 : 0;
}
uint32_t bytes_of(uint32_t a, uint32_t b, uint32_t n0, uint32_t n1, uint32_t n2, uint32_t n3) {
  return byte_of(a, b, n0) | byte_of(a, b, n1) << 8 | byte_of(a, b, n2) << 16 | byte_of(a, b, n3) << 24;
}
// Field of `len` bits from `pos`, bit by bit: beyond the last bit a signed field repeats the sign.
uint64_t field(uint64_t v, int bits, uint32_t pos, uint32_t len, bool sign) {
  pos &= 255;
  len &= 255;
  auto bit = [&](uint32_t p) { return p < static_cast<uint32_t>(bits) ? (v >> p) & 1 : 0; };
  const uint64_t fill = sign && len > 0 ? bit(std::min(pos + len - 1, static_cast<uint32_t>(bits - 1))) : 0;
  uint64_t out = 0;
  for (uint32_t i = 0; i < static_cast<uint32_t>(bits); ++i)
    out |= (i < len && pos + i < static_cast<uint32_t>(bits) ? bit(pos + i) : fill) << i;
  return out;
}
uint32_t with_field(uint32_t f, uint32_t base, uint32_t pos, uint32_t len) {
  for (uint32_t i = 0; i < (len & 255) && (pos & 255) + i < 32; ++i) {
    const uint32_t at = (pos & 255) + i;
    base = (base & ~(1u << at)) | ((f >> i) & 1) << at;
  }
  return base;
}
uint32_t lookup(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t out = 0;
  for (int i = 0; i < 32; ++i) out |= (table >> (((a >> i) & 1) * 4 + ((b >> i) & 1) * 2 + ((c >> i) & 1)) & 1) << i;
  return out;
}
template <class A, class B>
uint32_t dot(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 32; i += 8) c += static_cast<uint32_t>(static_cast<A>(a >> i) * static_cast<B>(b >> i));
  return c;
}

WARPLOOM_OP(AddS32, "add.s32 %0, %1, %2", a + b)
WARPLOOM_OP(AddSat, "add.sat.s32 %0, %1, %2", std::clamp<int64_t>(int64_t{sa} + sb, INT32_MIN, INT32_MAX))
WARPLOOM_OP(SubSat, "sub.sat.s32 %0, %1, %2", std::clamp<int64_t>(int64_t{sa} - sb, INT32_MIN, INT32_MAX))
WARPLOOM_OP(MulHiS, "mul.hi.s32 %0, %1, %2", (int64_t{sa} * sb) >> 32)
WARPLOOM_OP(MulHiU, "mul.hi.u32 %0, %1, %2", (uint64_t{a} * b) >> 32)
WARPLOOM_OP(MadLo, "mad.lo.s32 %0, %1, %2, %3", a* b + c)
WARPLOOM_OP(MadHi, "mad.hi.u32 %0, %1, %2, %3", ((uint64_t{a} * b) >> 32) + c)
WARPLOOM_OP(Mul24, "mul24.lo.u32 %0, %1, %2", (a & 0xffffff) * (b & 0xffffff))
WARPLOOM_OP(Sad, "sad.s32 %0, %1, %2, %3", c + static_cast<uint32_t>(sa < sb ? int64_t{sb} - sa : int64_t{sa} - sb))
WARPLOOM_OP(DivS, "div.s32 %0, %1, %2", b == 0 ? -1 : int64_t{sa} / sb)
WARPLOOM_OP(RemU, "rem.u32 %0, %1, %2", b == 0 ? a : a % b)
WARPLOOM_OP(MinS, "min.s32 %0, %1, %2", std::min(sa, sb))
WARPLOOM_OP(MaxU, "max.u32 %0, %1, %2", std::max(a, b))
WARPLOOM_OP(Neg, "neg.s32 %0, %1", 0 - a)
WARPLOOM_OP(Abs, "abs.s32 %0, %1", sa < 0 ? 0 - a : a)
WARPLOOM_OP(Shl, "shl.b32 %0, %1, %2", b >= 32 ? 0 : a << b)
WARPLOOM_OP(ShrU, "shr.u32 %0, %1, %2", b >= 32 ? 0 : a >> b)
WARPLOOM_OP(ShrS, "shr.s32 %0, %1, %2", sa >> std::min(b, 31u))
WARPLOOM_OP(ShfLWrap, "shf.l.wrap.b32 %0, %1, %2, %3", (uint64_t{b} << 32 | a) << (c & 31) >> 32)
WARPLOOM_OP(ShfRClamp, "shf.r.clamp.b32 %0, %1, %2, %3", (uint64_t{b} << 32 | a) >> std::min(c, 32u))
WARPLOOM_OP(Lop3, "lop3.b32 %0, %1, %2, %3, 0xd2", lookup(a, b, c, 0xd2))
WARPLOOM_OP(Prmt, "prmt.b32 %0, %1, %2, %3", bytes_of(a, b, c & 15, c >> 4 & 15, c >> 8 & 15, c >> 12 & 15))
WARPLOOM_OP(PrmtF4e, "prmt.b32.f4e %0, %1, %2, %3", bytes_of(a, b, c & 3, (c & 3) + 1, (c & 3) + 2, (c & 3) + 3))
WARPLOOM_OP(PrmtEcl, "prmt.b32.ecl %0, %1, %2, %3", bytes_of(a, b, c & 3, std::max(c & 3, 1u), std::max(c & 3, 2u), 3))
WARPLOOM_OP(BfeU, "bfe.u32 %0, %1, %2, %3", field(a, 32, b, c, false))
WARPLOOM_OP(BfeS, "bfe.s32 %0, %1, %2, %3", field(a, 32, b, c, true))
WARPLOOM_OP(Bfi, "bfi.b32 %0, %1, 0x5a5a5a5a, %2, %3", with_field(a, 0x5a5a5a5a, b, c))
WARPLOOM_OP(BfindU, "bfind.u32 %0, %1", a == 0 ? 0xffffffff : 31 - std::countl_zero(a))
WARPLOOM_OP(BfindS, "bfind.shiftamt.s32 %0, %1", sa == 0 || sa == -1 ? 0xffffffff : std::countl_zero(sa < 0 ? ~a : a))
WARPLOOM_OP(Popc, "popc.b32 %0, %1", std::popcount(a))
WARPLOOM_OP(Clz, "clz.b32 %0, %1", std::countl_zero(a))
WARPLOOM_OP(Brev, "brev.b32 %0, %1", [&] {
  uint32_t r = 0;
  for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i);
  return r;
}())
WARPLOOM_OP(Dp4aSU, "dp4a.s32.u32 %0, %1, %2, %3", (dot<int8_t, uint8_t>(a, b, c)))
WARPLOOM_OP(Dp4aUU, "dp4a.u32.u32 %0, %1, %2, %3", (dot<uint8_t, uint8_t>(a, b, c)))
WARPLOOM_OP(CvtSatS8, "cvt.sat.s8.s32 %0, %1", std::clamp(sa, -128, 127))
WARPLOOM_OP(CvtU8, "cvt.u8.u32 %0, %1", a & 255)
WARPLOOM_OP(CvtSatU16, "cvt.sat.u16.s32 %0, %1", std::clamp(sa, 0, 65535))
WARPLOOM_OP(Slct, "slct.s32.s32 %0, %1, %2, %3", sc >= 0 ? a : b)
WARPLOOM_OP(SetpBool,
            "{ .reg .pred p, q; setp.lt.u32 p, %3, 1000; setp.gt.and.s32 p|q, %1, %2, p; selp.b32 %0, 1, 0, p; @q add.u32 "
            "%0, %0, 2; }",
            (c < 1000 && sa > sb ? 1 : 0) + (c < 1000 && sa <= sb ? 2 : 0))
WARPLOOM_WIDE(MulWideS, "mul.wide.s32 %0, %1, %2", int64_t{sa} * sb)
WARPLOOM_WIDE(MadWideU, "mad.wide.u32 %0, %1, %2, 77", uint64_t{a} * b + 77)
WARPLOOM_WIDE(AddCarry, "{ .reg .b32 l, h; add.cc.u32 l, %1, %2; addc.u32 h, %3, %1; mov.b64 %0, {l, h}; }",
              (uint64_t{c} << 32 | a) + (uint64_t{a} << 32 | b))
WARPLOOM_WIDE(SubCarry, "{ .reg .b32 l, h; sub.cc.u32 l, %1, %2; subc.u32 h, %3, %1; mov.b64 %0, {l, h}; }",
              (uint64_t{c} << 32 | a) - (uint64_t{a} << 32 | b))
WARPLOOM_WIDE(MadCarry, "{ .reg .b32 l, h; mad.lo.cc.u32 l, %1, %2, %3; madc.hi.u32 h, %1, %2, 9; mov.b64 %0, {l, h}; }",
              uint64_t{a} * b + c + (uint64_t{9} << 32))
WARPLOOM_WIDE(MulHi64, "{ .reg .b64 x, y; mov.b64 x, {%1, %2}; mov.b64 y, {%2, %3}; mul.hi.s64 %0, x, y; }",
              (static_cast<__int128>(static_cast<int64_t>(uint64_t{b} << 32 | a)) *
               static_cast<int64_t>(uint64_t{c} << 32 | b)) >>
                  64)
WARPLOOM_WIDE(BfeS64, "{ .reg .b64 x; mov.b64 x, {%1, %2}; bfe.s64 %0, x, %3, 13; }",
              field(uint64_t{b} << 32 | a, 64, c, 13, true))
WARPLOOM_WIDE(Shl64, "{ .reg .b64 x; mov.b64 x, {%1, %2}; shl.b64 %0, x, %3; }", c >= 64 ? 0 : (uint64_t{b} << 32 | a) << c)

TEST(Integer, Arithmetic) {
  compare<AddS32>("add");
  compare<AddSat>("add.sat");
  compare<SubSat>("sub.sat");
  compare<MulHiS>("mul.hi.s32");
  compare<MulHiU>("mul.hi.u32");
  compare<MadLo>("mad.lo");
  compare<MadHi>("mad.hi");
  compare<Mul24>("mul24");
  compare<Sad>("sad");
  compare<DivS>("div.s32");
  compare<RemU>("rem.u32");
  compare<MinS>("min");
  compare<MaxU>("max");
  compare<Neg>("neg");
  compare<Abs>("abs");
  compare<MulWideS>("mul.wide");
  compare<MadWideU>("mad.wide");
  compare<MulHi64>("mul.hi.s64");
  compare<Dp4aSU>("dp4a.s32.u32");
  compare<Dp4aUU>("dp4a.u32.u32");
}
TEST(Integer, CarryChains) {
  compare<AddCarry>("addc");
  compare<SubCarry>("subc");
  compare<MadCarry>("madc");
}
TEST(Integer, Bits) {
  compare<Shl>("shl");
  compare<Shl64>("shl.b64");
  compare<ShrU>("shr.u32");
  compare<ShrS>("shr.s32");
  compare<ShfLWrap>("shf.l.wrap");
  compare<ShfRClamp>("shf.r.clamp");
  compare<Lop3>("lop3");
  compare<Prmt>("prmt");
  compare<PrmtF4e>("prmt.f4e");
  compare<PrmtEcl>("prmt.ecl");
  compare<BfeU>("bfe.u32");
  compare<BfeS>("bfe.s32");
  compare<BfeS64>("bfe.s64");
  compare<Bfi>("bfi");
  compare<BfindU>("bfind.u32");
  compare<BfindS>("bfind.shiftamt.s32");
  compare<Popc>("popc");
  compare<Clz>("clz");
  compare<Brev>("brev");
}
TEST(Integer, ConversionsAndSelection) {
  compare<CvtSatS8>("cvt.sat.s8");
  compare<CvtU8>("cvt.u8");
  compare<CvtSatU16>("cvt.sat.u16");
  compare<Slct>("slct");
  compare<SetpBool>("setp with a predicate");
}

}  // namespace
