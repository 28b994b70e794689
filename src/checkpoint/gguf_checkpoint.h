// GGUF files as checkpoints.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf.h"

namespace warploom {

bool is_gguf(std::span<const std::byte> file);

std::shared_ptr<const Checkpoint> open_gguf_checkpoint(const std::filesystem::path& path);

/// In gguf_tokenizer.cpp.
TokenizerData gguf_tokenizer(const GgufFile& file);

/// In gguf_info.cpp.
CheckpointInfo gguf_info(const GgufFile& file);

}  // namespace warploom
