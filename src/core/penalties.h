// Whether sampling depends on the previous tokens of a row.
#pragma once

#include "warploom/sampling.h"

namespace warploom {

inline bool has_penalties(const SamplingParams& p) {
  return p.repetition_penalty != 1.0f || p.frequency_penalty != 0.0f || p.presence_penalty != 0.0f;
}

}  // namespace warploom
