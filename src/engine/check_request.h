// Refuses what cannot be honoured before any work is done. check_prompt() is declared in warploom/generator.h.
#pragma once

#include "warploom/engine_options.h"
#include "warploom/model.h"
#include "warploom/request.h"

namespace warploom {

/// Each throws InvalidArgument naming what is out of range, its value and the bound.
void check_options(const EngineOptions& options);
void check_request(const Request& request, const ModelShape& shape);

}  // namespace warploom
