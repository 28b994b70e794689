// Refuses what cannot be honoured before any work is done.
#pragma once

#include <span>
#include <vector>

#include "warploom/generator.h"

namespace warploom {

/// Throws InvalidArgument naming the prompt or option, its value and the bound.
void check_max_batch(std::int64_t max_num_seqs);
void check_options(const GenerateOptions& options, const ModelShape& shape);
void check_prompt(std::span<const TokenId> prompt, std::size_t index, const ModelShape& shape);

}  // namespace warploom
