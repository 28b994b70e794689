// A tokenizer from what a checkpoint says.
#pragma once

#include <memory>

#include "checkpoint/tokenizer_data.h"
#include "warploom/tokenizer.h"

namespace warploom {

/// Keeps nothing of the data. Throws ModelError if they contradict one another or are not supported.
[[nodiscard]] std::shared_ptr<const Tokenizer> load_tokenizer(const TokenizerData& data);

}  // namespace warploom
