// ldmatrix and mma.sync of f16, bf16 and bytes. PTX ISA 9.7.15.5; sums as fused_sum.h says, by the emulated device.
#include <algorithm>

#include "access.h"
#include "decoder.h"
#include "device_models.h"
#include "fused_sum.h"
#include "races.h"

namespace emulator {
namespace {

using ptx::Type;

uint32_t operand_code(const Inst& in, size_t k) { return k < 6 ? in.op[k] : in.more[k - 6]; }

void need_all_lanes(Warp& w, const Inst& in, const char* what) {
  if (w.exec != kAllLanes)
    fault(w, in, std::countr_zero(w.exec), kFaultInstruction, std::string(what) + " without all 32 lanes");
}

// Lane 8m + r gives the address of row r of matrix m (eight 16-bit values); lane l gets elements 2(l%4), +1 of row l/4.
template <int kMatrices, bool kTranspose>
void load_matrix(Warp& w, const Inst& in) {
  need_all_lanes(w, in, "ldmatrix");
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[kMatrices], address);
  const Region region = region_of(w, ptx::Space::kShared);
  ++w.serial;
  for (int m = 0; m < kMatrices; ++m) {
    uint16_t rows[8][8];
    for (int r = 0; r < 8; ++r) {
      const int lane = 8 * m + r;
      check_read(w, in, region, lane, address[lane], 16, 2, 16);
      track(w, in, lane, address[lane], 16, AccessKind::kRead);
      std::memcpy(rows[r], reinterpret_cast<const void*>(address[lane]), 16);
    }
    uint32_t* out = reg<uint32_t>(w, in.op[m]);
    for (int l = 0; l < kLanes; ++l) {
      const int row = l / 4, column = 2 * (l % 4);
      const uint32_t low = kTranspose ? rows[column][row] : rows[row][column];
      const uint32_t high = kTranspose ? rows[column + 1][row] : rows[row][column + 1];
      out[l] = low | high << 16;
    }
  }
}
void ldmatrix(Encoder& e) {
  e.take("sync"), e.take("aligned");
  if (!e.take("m8n8")) e.unsupported("shape");
  const std::string_view count = e.take_one({"x1", "x2", "x4"});
  const bool transpose = e.take("trans");
  e.take("shared"), e.take("shared::cta");
  e.take_type();
  std::vector<uint32_t> destinations, sources;
  const ptx::Operand& d = e.operand(0);
  if (d.kind == ptx::Operand::Kind::kVector)
    for (const auto& element : d.elements) destinations.push_back(e.dst(element, 4));
  else
    destinations.push_back(e.dst(d, 4));
  int64_t offset = 0;
  const uint32_t mode = encode_address(e, e.operand(1), ptx::Space::kShared, sources, offset);
  const Handler h = count == "x1"   ? (transpose ? &load_matrix<1, true> : &load_matrix<1, false>)
                    : count == "x2" ? (transpose ? &load_matrix<2, true> : &load_matrix<2, false>)
                                    : (transpose ? &load_matrix<4, true> : &load_matrix<4, false>);
  Inst& in = e.emit(h, destinations, sources);
  in.target = mode;
  in.imm = offset;
  e.accesses(InstructionCost::Access::kRead, destinations.size(), 16);
  e.last().cost.lanes = destinations.size() == 4 ? kAllLanes : (1u << 8 * destinations.size()) - 1;
}

// D[16][8] = A[16][K] B[K][8] + C. Lane l has g = l/4, t = l%4: of A rows g and g+8, columns 2t, 2t+1 (and those + 8); of B
// rows 2t, 2t+1 (and + 8), column g; of C and D rows g and g+8, columns 2t, 2t+1.
template <int kDepth, bool kBfloat, bool kHalfSum>
void multiply(Warp& w, const Inst& in) {
  need_all_lanes(w, in, "mma");
  constexpr size_t kA = kDepth / 4, kB = kDepth / 8, kC = kHalfSum ? 2 : 4;
  Factors<kDepth> factors;
  alignas(64) float c[16][8];
  for (size_t k = 0; k < kA; ++k) {
    const uint32_t* v = reg<uint32_t>(w, operand_code(in, kC + k));
    for (size_t g = 0; g < 8; ++g) std::memcpy(&factors.a[g + (k % 2) * 8][(k / 2) * 8], v + 4 * g, 16);
  }
  for (size_t k = 0; k < kB; ++k) {
    const uint32_t* v = reg<uint32_t>(w, operand_code(in, kC + kA + k));
    for (size_t t = 0; t < 4; ++t)
      for (size_t g = 0; g < 8; ++g) {
        factors.b[2 * t + 8 * k][g] = static_cast<uint16_t>(v[4 * g + t]);
        factors.b[2 * t + 8 * k + 1][g] = static_cast<uint16_t>(v[4 * g + t] >> 16);
      }
  }
  for (size_t k = 0; k < kC; ++k) {
    const uint32_t* v = reg<uint32_t>(w, operand_code(in, kC + kA + kB + k));
    for (size_t g = 0; g < 8; ++g)
      for (size_t t = 0; t < 4; ++t) {
        if (kHalfSum) {
          c[g + 8 * k][2 * t] = from_half(static_cast<uint16_t>(v[4 * g + t]));
          c[g + 8 * k][2 * t + 1] = from_half(static_cast<uint16_t>(v[4 * g + t] >> 16));
        } else {
          c[g + 8 * (k / 2)][2 * t + k % 2] = std::bit_cast<float>(v[4 * g + t]);
        }
      }
  }
  if (device_model().major >= 9)
    add_products<kHopperSum, kDepth, kBfloat, kHalfSum>(factors, c);
  else
    add_products<kAmpereSum, kDepth, kBfloat, kHalfSum>(factors, c);
  for (size_t k = 0; k < kC; ++k) {
    uint32_t* d = reg<uint32_t>(w, operand_code(in, k));
    for (size_t g = 0; g < 8; ++g)
      for (size_t t = 0; t < 4; ++t) {
        if (kHalfSum)
          d[4 * g + t] = to_half(c[g + 8 * k][2 * t]) | static_cast<uint32_t>(to_half(c[g + 8 * k][2 * t + 1])) << 16;
        else
          d[4 * g + t] = std::bit_cast<uint32_t>(canonical(c[g + 8 * (k / 2)][2 * t + k % 2]));
      }
  }
}
// The same of bytes: a register holds four neighbours of a row of A or of a column of B, those + 16 the next ones. Sums
// wrap, or stop at the ends of their range where in.target is 1.
template <int kDepth, bool kSignedA, bool kSignedB>
void multiply_bytes(Warp& w, const Inst& in) {
  need_all_lanes(w, in, "mma");
  constexpr size_t kA = kDepth / 8, kB = kDepth / 16, kC = 4;
  int32_t a[16][kDepth], b[kDepth][8];
  auto byte = [](uint32_t v, int i, bool is_signed) {
    const uint32_t bits = v >> 8 * i & 255;
    return is_signed ? static_cast<int32_t>(static_cast<int8_t>(bits)) : static_cast<int32_t>(bits);
  };
  for (int l = 0; l < kLanes; ++l) {
    const int g = l / 4, t = 4 * (l % 4);
    for (int i = 0; i < 4; ++i) {
      for (size_t k = 0; k < kA; ++k)
        a[g + (k % 2 == 1 ? 8 : 0)][t + (k >= 2 ? 16 : 0) + i] =
            byte(reg<uint32_t>(w, operand_code(in, kC + k))[l], i, kSignedA);
      for (size_t k = 0; k < kB; ++k)
        b[t + 16 * static_cast<int>(k) + i][g] = byte(reg<uint32_t>(w, operand_code(in, kC + kA + k))[l], i, kSignedB);
    }
  }
  for (size_t k = 0; k < kC; ++k) {
    const int32_t* c = reg<int32_t>(w, operand_code(in, kC + kA + kB + k));
    int32_t* d = reg<int32_t>(w, operand_code(in, k));
    for (int l = 0; l < kLanes; ++l) {
      const int row = l / 4 + (k >= 2 ? 8 : 0), column = 2 * (l % 4) + static_cast<int>(k % 2);
      int64_t sum = c[l];
      for (int i = 0; i < kDepth; ++i) sum += a[row][i] * b[i][column];
      if (in.target == 1) sum = std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX);
      d[l] = static_cast<int32_t>(sum);
    }
  }
}

void take_fragments(Encoder& e, const Type (&types)[3], std::vector<uint32_t>& destinations,
                    std::vector<uint32_t>& sources) {
  for (const auto& o : e.operand(0).elements) destinations.push_back(e.dst(o, 4));
  for (size_t k = 1; k <= 3; ++k) {
    const ptx::Operand& operand = e.operand(k);
    if (operand.kind != ptx::Operand::Kind::kVector) sources.push_back(e.src(operand, types[k - 1]));
    for (const auto& o : operand.elements) sources.push_back(e.src(o, types[k - 1]));
  }
}

void mma_bytes(Encoder& e, bool deep, bool saturates, Type a, Type b, Type c) {
  const bool signed_a = a == Type::kS8, signed_b = b == Type::kS8;
  if (c != Type::kS32 || (!signed_a && a != Type::kU8) || (!signed_b && b != Type::kU8)) e.unsupported("types");
  const Handler handlers[2][2][2] = {{{multiply_bytes<16, false, false>, multiply_bytes<16, false, true>},
                                      {multiply_bytes<16, true, false>, multiply_bytes<16, true, true>}},
                                     {{multiply_bytes<32, false, false>, multiply_bytes<32, false, true>},
                                      {multiply_bytes<32, true, false>, multiply_bytes<32, true, true>}}};
  std::vector<uint32_t> destinations, sources;
  take_fragments(e, {Type::kB32, Type::kB32, Type::kB32}, destinations, sources);
  e.emit(handlers[deep][signed_a][signed_b], destinations, sources).target = saturates ? 1 : 0;
}

void mma(Encoder& e) {
  e.take("sync"), e.take("aligned");
  const std::string_view shape = e.take_one({"m16n8k32", "m16n8k16", "m16n8k8"});
  if (shape.empty() || !e.take("row") || !e.take("col")) e.unsupported("shape or layout");
  const bool saturates = e.take("satfinite");
  const Type d = e.take_type(), a = e.take_type(), b = e.take_type(), c = e.take_type();
  if (d == Type::kS32 && shape != "m16n8k8") return mma_bytes(e, shape == "m16n8k32", saturates, a, b, c);
  if (saturates || shape == "m16n8k32") e.unsupported("shape or types");
  const bool bfloat = a == Type::kBF16, half_sum = d == Type::kF16, deep = shape == "m16n8k16";
  if (a != b || c != d || (a != Type::kF16 && !bfloat) || (half_sum && bfloat) || (!half_sum && d != Type::kF32))
    e.unsupported("types");
  std::vector<uint32_t> destinations, sources;
  take_fragments(e, {Type::kB32, Type::kB32, half_sum ? Type::kB32 : Type::kF32}, destinations, sources);
  const Handler h = deep ? (half_sum ? &multiply<16, false, true>
                            : bfloat ? &multiply<16, true, false>
                                     : &multiply<16, false, false>)
                         : (half_sum ? &multiply<8, false, true>
                            : bfloat ? &multiply<8, true, false>
                                     : &multiply<8, false, false>);
  e.emit(h, destinations, sources);
}

}  // namespace

void add_matrix_ops(EncoderTable& table) { table.insert({{"ldmatrix", ldmatrix}, {"mma", mma}}); }

}  // namespace emulator
