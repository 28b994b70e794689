#include "cpu/isa.h"

#include <algorithm>
#include <vector>

#include <generated/built_isas.h>

#include "core/check.h"

namespace warploom::cpu {

namespace {

bool amd() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace

CpuIsa best_isa() { return available_cpu_isas().back(); }

const Kernels& kernels_for(CpuIsa isa) {
  const std::vector<CpuIsa> available = available_cpu_isas();
  if (isa == CpuIsa::automatic) isa = available.back();
  require_that(std::find(available.begin(), available.end(), isa) != available.end(),
               "isa: this machine does not run {}, or this build has no kernels for it", name(isa));
  switch (isa) {
#define WARPLOOM_KERNELS_OF(isa) \
  case CpuIsa::isa: return isa::kKernels;
    WARPLOOM_BUILT_ISAS(WARPLOOM_KERNELS_OF)
#undef WARPLOOM_KERNELS_OF
    default: return generic::kKernels;
  }
}

ProductPlan plan_of_products(const PackedFormat& weights, std::int64_t tokens) {
  if (amd()) {
    const bool affine = weights.scales == ScaleKind::affine || weights.scales == ScaleKind::super_block_affine;
    const std::int64_t seen_by_itself = !weights.quantised                         ? 0
                                        : weights.bits == CodeBits::eight          ? 3
                                        : affine && weights.bits == CodeBits::four ? 1
                                                                                   : 0;
    return {.fetch = tokens <= seen_by_itself ? Fetch::nowhere : Fetch::second_cache};
  }
  // From here on several tiles share what they fetch (FetchAhead in cpu/kernels/panels.h). Floats were measured in the first cache alone.
  const bool shared = weights.quantised && tokens >= 12;
  return {.fetch = shared ? Fetch::second_cache : Fetch::first_cache, .pairs = true};
}

bool reads_all_weights(const PackedFormat& format, std::uint64_t bytes, std::int64_t own_tokens) {
  constexpr std::uint64_t kSecondCache = 2 << 20;
  return amd() || own_tokens >= 32 || (format.quantised && format.bits != CodeBits::eight && bytes <= kSecondCache);
}

Fetch fetch_of_kv() { return amd() ? Fetch::second_cache : Fetch::first_cache; }

}  // namespace warploom::cpu
