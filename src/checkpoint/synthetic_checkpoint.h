// A checkpoint that no file holds: any shape, with weights drawn from a seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "checkpoint/checkpoint.h"

namespace warploom {

/// Draws a tensor when it is asked for and drops it at release(), which ends the life of its views. Throws InvalidArgument if
/// `file_type` is not known or the vocabulary is too small for the tokenizer: every byte, then made-up words, then
/// "<|im_start|>" and "<|im_end|>", which begin and end a turn.
std::shared_ptr<const Checkpoint> synthetic_checkpoint(const ModelShape& shape, std::string_view file_type,
                                                       std::uint64_t seed, int threads);

}  // namespace warploom
