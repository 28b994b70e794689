// The tokenizer of an open GGUF file.
#pragma once

#include <memory>

#include "formats/gguf.h"
#include "warploom/tokenizer.h"

namespace warploom {

/// Keeps nothing of the file. Throws ModelError where the file's tokenizer is missing, damaged or not supported.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::shared_ptr<const GgufFile>& file);

}  // namespace warploom
