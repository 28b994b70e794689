// What a model's files hold, read without loading the weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "warploom/export.h"
#include "warploom/model.h"

namespace warploom {

struct CheckpointTensor {
  std::string name;
  std::string type;                 ///< e.g. "Q4_1"; "unknown" if it has no name in GGUF as of this release
  std::vector<std::int64_t> shape;  ///< slowest-moving dimension first: [rows, columns]
  std::uint64_t offset = 0;         ///< from the file's start
  std::uint64_t bytes = 0;          ///< 0 if the type is not known
};

struct CheckpointEntry {
  std::string key;
  std::string value;  ///< as text; long arrays are cut
};

struct CheckpointInfo {
  std::string format;       ///< e.g. "GGUF version 3"
  std::uint64_t bytes = 0;  ///< of the file
  std::vector<CheckpointEntry> metadata;
  std::vector<CheckpointTensor> tensors;
  std::optional<ModelShape> shape;  ///< as Model::load would read it; empty if it would refuse
  std::string refusal;              ///< why; empty if there is a shape
};

/// Throws ModelError if the file cannot be read or is damaged. A sound file that holds no model which this library can run is
/// no error: see `refusal`.
[[nodiscard]] WARPLOOM_EXPORT CheckpointInfo inspect(const std::filesystem::path& path);

}  // namespace warploom
