#include "ptx_ast.h"

#include <array>
#include <utility>

namespace emulator::ptx {
namespace {

constexpr std::array<std::pair<std::string_view, Type>, 20> kTypes{
    {{"u8", Type::kU8},       {"u16", Type::kU16},       {"u32", Type::kU32},   {"u64", Type::kU64}, {"s8", Type::kS8},
     {"s16", Type::kS16},     {"s32", Type::kS32},       {"s64", Type::kS64},   {"b8", Type::kB8},   {"b16", Type::kB16},
     {"b32", Type::kB32},     {"b64", Type::kB64},       {"b128", Type::kB128}, {"f16", Type::kF16}, {"bf16", Type::kBF16},
     {"f16x2", Type::kF16x2}, {"bf16x2", Type::kBF16x2}, {"f32", Type::kF32},   {"f64", Type::kF64}, {"pred", Type::kPred}}};

}  // namespace

Type type_from_name(std::string_view name) {
  for (const auto& [text, type] : kTypes)
    if (text == name) return type;
  return Type::kNone;
}

int size_of(Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kS8:
    case Type::kB8: return 1;
    case Type::kU16:
    case Type::kS16:
    case Type::kB16:
    case Type::kF16:
    case Type::kBF16: return 2;
    case Type::kU32:
    case Type::kS32:
    case Type::kB32:
    case Type::kF32:
    case Type::kF16x2:
    case Type::kBF16x2: return 4;
    case Type::kU64:
    case Type::kS64:
    case Type::kB64:
    case Type::kF64: return 8;
    case Type::kB128: return 16;
    case Type::kPred:
    case Type::kNone: break;
  }
  return 0;
}

}  // namespace emulator::ptx
