#include "warploom/device.h"

#include <fmt/format.h>
#include <generated/built_isas.h>

#include "warploom/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace warploom {

namespace {

#if defined(__x86_64__)
// None of these is known to every compiler's __builtin_cpu_supports.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
}
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
}
bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}
// Whether the processor multiplies tiles of bytes, and the system gives this process the registers, which Linux does when asked.
bool has_amx() {
#if defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Of this machine, the fastest last.
std::vector<CpuIsa> detect() {
  std::vector<CpuIsa> isas = {CpuIsa::generic};
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks whether the operating system saves the registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return isas;
  isas.push_back(CpuIsa::avx2);
  if (has_avx_vnni()) isas.push_back(CpuIsa::avx2_vnni);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return isas;
  isas.push_back(CpuIsa::avx512);
  if (!__builtin_cpu_supports("avx512vnni")) return isas;
  isas.push_back(CpuIsa::avx512_vnni);
  if (!has_avx512_bf16()) return isas;
  // An Intel core (Emerald Rapids; others were not measured) takes as long for a vector of products of bf16 pairs as for four of floats.
  isas.insert(isas.end() - (__builtin_cpu_is("amd") ? 0 : 1), CpuIsa::avx512_bf16);
  if (has_amx()) isas.push_back(CpuIsa::avx512_amx);
#endif
  return isas;
}

bool built(CpuIsa isa) {
  switch (isa) {
#define WARPLOOM_BUILT(isa) case CpuIsa::isa:
    WARPLOOM_BUILT_ISAS(WARPLOOM_BUILT)
#undef WARPLOOM_BUILT
    case CpuIsa::generic: return true;
    default: return false;
  }
}

}  // namespace

DeviceKind parse_device_kind(std::string_view text) {
  if (text == "auto") return DeviceKind::automatic;
  if (text == "cpu") return DeviceKind::cpu;
  if (text == "cuda") return DeviceKind::cuda;
  throw InvalidArgument(fmt::format("device: \"{}\" is not one of auto, cpu, cuda", text));
}

std::vector<CpuIsa> available_cpu_isas() {
  static const std::vector<CpuIsa> usable = [] {
    std::vector<CpuIsa> isas = detect();
    std::erase_if(isas, [](CpuIsa isa) { return !built(isa); });
    return isas;
  }();
  return usable;
}

std::string_view name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::automatic: return "automatic";
    case CpuIsa::generic: return "generic";
    case CpuIsa::avx2: return "avx2";
    case CpuIsa::avx2_vnni: return "avx2_vnni";
    case CpuIsa::avx512: return "avx512";
    case CpuIsa::avx512_vnni: return "avx512_vnni";
    case CpuIsa::avx512_bf16: return "avx512_bf16";
    case CpuIsa::avx512_amx: return "avx512_amx";
  }
  return "unknown";
}

CpuIsa parse_cpu_isa(std::string_view text) {
  using enum CpuIsa;
  std::string names;
  for (const CpuIsa isa : {automatic, generic, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, avx512_amx}) {
    if (text == name(isa)) return isa;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name(isa));
  }
  throw InvalidArgument(fmt::format("isa: \"{}\" is not one of {}", text, names));
}

}  // namespace warploom
