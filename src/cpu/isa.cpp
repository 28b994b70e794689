#include "cpu/isa.h"

#include <algorithm>
#include <string_view>

#include "core/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace warploom {

namespace {

#if defined(__x86_64__)
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
}
#endif

std::vector<CpuIsa> detect() {
  std::vector<CpuIsa> isas = {CpuIsa::generic};
#if defined(__x86_64__)
  // __builtin_cpu_supports also checks that the operating system saves the registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return isas;
  isas.push_back(CpuIsa::avx2);
  if (has_avx_vnni()) isas.push_back(CpuIsa::avx2_vnni);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return isas;
  isas.push_back(CpuIsa::avx512);
  if (__builtin_cpu_supports("avx512vnni")) isas.push_back(CpuIsa::avx512_vnni);
#endif
  return isas;
}

}  // namespace

std::vector<CpuIsa> available_cpu_isas() {
  static const std::vector<CpuIsa> isas = detect();
  return isas;
}

std::string_view name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::automatic: return "automatic";
    case CpuIsa::generic: return "generic";
    case CpuIsa::avx2: return "avx2";
    case CpuIsa::avx2_vnni: return "avx2_vnni";
    case CpuIsa::avx512: return "avx512";
    case CpuIsa::avx512_vnni: return "avx512_vnni";
  }
  return "unknown";
}

namespace cpu {

CpuIsa best_isa() { return available_cpu_isas().back(); }

const Kernels& kernels_for(CpuIsa isa) {
  const std::vector<CpuIsa> available = available_cpu_isas();
  if (isa == CpuIsa::automatic) isa = available.back();
  require_that(std::find(available.begin(), available.end(), isa) != available.end(), "isa: this machine does not run {}",
               name(isa));
  switch (isa) {
#if defined(__x86_64__)
    case CpuIsa::avx2: return avx2::kKernels;
    case CpuIsa::avx2_vnni: return avx2_vnni::kKernels;
    case CpuIsa::avx512: return avx512::kKernels;
    case CpuIsa::avx512_vnni: return avx512_vnni::kKernels;
#endif
    default: return generic::kKernels;
  }
}

}  // namespace cpu
}  // namespace warploom
