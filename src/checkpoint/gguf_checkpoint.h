// GGUF files as checkpoints.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf.h"

namespace warploom {

bool is_gguf(std::span<const std::byte> file);

std::shared_ptr<const Checkpoint> open_gguf_checkpoint(const std::filesystem::path& path);

/// In gguf_tokenizer.cpp.
TokenizerData gguf_tokenizer(const GgufFile& file);

/// In gguf_support.cpp. Throws ModelError if the file holds a part of a model, or something else than a model.
void check_gguf_is_whole(const GgufFile& file);
/// Throws ModelError if a value of the architecture is not among `read` and may change what the model computes.
void check_gguf_values(const GgufFile& file, std::span<const std::string> read);
/// Names of tensors that are not among `used`, without those that a model can do without.
std::vector<std::string> unused_gguf_tensors(const GgufFile& file, const std::unordered_set<std::string>& used);

/// In gguf_info.cpp.
CheckpointInfo gguf_info(const GgufFile& file);
/// Long arrays are cut.
std::string gguf_text(const GgufValue& value);

}  // namespace warploom
