// What sampling parameters may be, said once.
#pragma once

#include <cmath>

#include "warploom/sampling.h"

namespace warploom {

/// Calls check(ok, field, value, bound) for each field in turn, until it returns false; returns whether it never did.
template <typename Check>
bool check_each(const SamplingParams& p, const Check& check) {
  return check(std::isfinite(p.temperature) && p.temperature >= 0.0f, "temperature", p.temperature,
               "a number >= 0 (0 is greedy)") &&
         check(p.top_k >= 0, "top_k", p.top_k, ">= 0 (0 is off)") &&
         check(p.top_p > 0.0f, "top_p", p.top_p, "> 0 (1 and above is off)") &&
         check(p.min_p >= 0.0f && p.min_p <= 1.0f, "min_p", p.min_p, "in [0, 1] (0 is off)") &&
         check(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0.0f, "repetition_penalty",
               p.repetition_penalty, "a number > 0 (1 is off)") &&
         check(std::isfinite(p.frequency_penalty), "frequency_penalty", p.frequency_penalty, "a finite number (0 is off)") &&
         check(std::isfinite(p.presence_penalty), "presence_penalty", p.presence_penalty, "a finite number (0 is off)");
}

inline bool is_valid(const SamplingParams& params) {
  return check_each(params, [](bool ok, const char*, auto, const char*) { return ok; });
}

/// Whether sampling looks at a row's history at all.
inline bool has_penalties(const SamplingParams& p) {
  return p.repetition_penalty != 1.0f || p.frequency_penalty != 0.0f || p.presence_penalty != 0.0f;
}

}  // namespace warploom
