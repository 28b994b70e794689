#include "core/sampling_params.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

void validate(const SamplingParams& params) {
  check_each(params, [](bool ok, const char* field, auto value, const char* bound) {
    if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", field, value, bound));
    return true;
  });
}

}  // namespace warploom
