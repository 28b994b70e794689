// ldmatrix and mma.sync of f16 and bf16. PTX ISA 9.7.15.5. Products are exact; a sum is rounded once, where the hardware's
// order is its own (PTX leaves it open).
#include "access.h"
#include "decoder.h"
#include "float_bits.h"
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
  double a[16][kDepth], b[kDepth][8], c[16][8];
  auto wide = [](uint32_t v) {
    const uint16_t bits = static_cast<uint16_t>(v);
    return static_cast<double>(kBfloat ? from_bfloat(bits) : from_half(bits));
  };
  for (int l = 0; l < kLanes; ++l) {
    const int g = l / 4, t = 2 * (l % 4);
    for (size_t k = 0; k < kA; ++k) {
      const uint32_t v = reg<uint32_t>(w, operand_code(in, kC + k))[l];
      const int row = g + (k % 2 == 1 ? 8 : 0), column = t + (k >= 2 ? 8 : 0);
      a[row][column] = wide(v);
      a[row][column + 1] = wide(v >> 16);
    }
    for (size_t k = 0; k < kB; ++k) {
      const uint32_t v = reg<uint32_t>(w, operand_code(in, kC + kA + k))[l];
      b[t + 8 * static_cast<int>(k)][g] = wide(v);
      b[t + 8 * static_cast<int>(k) + 1][g] = wide(v >> 16);
    }
    for (size_t k = 0; k < kC; ++k) {
      const uint32_t v = reg<uint32_t>(w, operand_code(in, kC + kA + kB + k))[l];
      if (kHalfSum) {
        c[g + 8 * static_cast<int>(k)][t] = static_cast<double>(from_half(static_cast<uint16_t>(v)));
        c[g + 8 * static_cast<int>(k)][t + 1] = static_cast<double>(from_half(static_cast<uint16_t>(v >> 16)));
      } else {
        c[g + (k >= 2 ? 8 : 0)][t + static_cast<int>(k % 2)] = static_cast<double>(std::bit_cast<float>(v));
      }
    }
  }
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < kDepth; ++k)
      for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
  for (int l = 0; l < kLanes; ++l) {
    const int g = l / 4, t = 2 * (l % 4);
    for (size_t k = 0; k < kC; ++k) {
      uint32_t& d = reg<uint32_t>(w, operand_code(in, k))[l];
      const int half_row = g + 8 * static_cast<int>(k);
      if (kHalfSum)
        d = to_half(c[half_row % 16][t]) | static_cast<uint32_t>(to_half(c[half_row % 16][t + 1])) << 16;
      else
        d = std::bit_cast<uint32_t>(canonical(static_cast<float>(c[g + (k >= 2 ? 8 : 0)][t + static_cast<int>(k % 2)])));
    }
  }
}
void mma(Encoder& e) {
  e.take("sync"), e.take("aligned");
  const std::string_view shape = e.take_one({"m16n8k16", "m16n8k8"});
  if (shape.empty() || !e.take("row") || !e.take("col")) e.unsupported("shape or layout");
  const Type d = e.take_type(), a = e.take_type(), b = e.take_type(), c = e.take_type();
  const bool bfloat = a == Type::kBF16, half_sum = d == Type::kF16, deep = shape == "m16n8k16";
  if (a != b || c != d || (a != Type::kF16 && !bfloat) || (half_sum && bfloat) || (!half_sum && d != Type::kF32))
    e.unsupported("types");
  std::vector<uint32_t> destinations, sources;
  for (const auto& o : e.operand(0).elements) destinations.push_back(e.dst(o, 4));
  const Type types[] = {Type::kB32, Type::kB32, half_sum ? Type::kB32 : Type::kF32};
  for (size_t k = 1; k <= 3; ++k) {
    const ptx::Operand& operand = e.operand(k);
    if (operand.kind != ptx::Operand::Kind::kVector) sources.push_back(e.src(operand, types[k - 1]));
    for (const auto& o : operand.elements) sources.push_back(e.src(o, types[k - 1]));
  }
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
