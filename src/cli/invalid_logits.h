// Why a request drew nothing.
#pragma once

#include <memory>
#include <span>

#include "warploom/engine_options.h"
#include "warploom/model.h"
#include "warploom/request.h"
#include "warploom/score.h"

namespace warploom::cli {

/// Finds the cause by drawing the token that failed in other ways: without what was asked of the sampling, then with keys and
/// values in f32. `output`: what the request came to, with an error. Throws ModelError or OutOfMemory, or InvalidArgument if the
/// request is to blame.
[[noreturn]] void fail_by_cause(const std::shared_ptr<const Model>& model, const Request& request,
                                const EngineOptions& options, const RequestOutput& output);

/// score(); if it fails by logits that are not numbers, the error says why.
Score score_or_fail_by_cause(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens,
                             const ScoreOptions& options);

}  // namespace warploom::cli
