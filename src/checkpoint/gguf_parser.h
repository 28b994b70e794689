// The header of a GGUF file: metadata, and where the tensors are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/dtype.h"

namespace warploom {

/// Metadata values. Arrays hold one kind each; nested arrays are refused.
using GgufArray = std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>, std::vector<bool>,
                               std::vector<std::string_view>>;
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

struct GgufTensor {
  std::string_view name;
  std::uint32_t raw_type = 0;       // ggml's number
  std::optional<WeightType> type;   // empty if this library cannot compute with it
  std::string_view type_name;       // e.g. "Q4_1"; "unknown" for a number that has no name
  std::vector<std::int64_t> shape;  // slowest-moving dimension first; at least one dimension
  std::uint64_t offset = 0;         // from the first tensor's in a header, from the file's start in a GgufFile
  std::uint64_t bytes = 0;          // 0 if the type is unknown
};

/// Views are into the file.
struct GgufHeader {
  std::uint32_t version = 0;
  std::vector<std::pair<std::string_view, GgufValue>> metadata;
  std::vector<GgufTensor> tensors;
  std::uint64_t bytes = 0;  // the header's own
};

/// Throws ModelError naming path and offset on anything damaged: sizes and counts are checked against the file's length before
/// memory is taken for them, duplicate keys and tensors are refused. Whether tensors lie inside the file is not checked.
/// Before it looks at a byte it calls `read(end)` with an end behind it, unless an earlier call returned that much: read makes
/// at least [0, end) readable and returns the end of what is.
GgufHeader parse_gguf_header(std::span<const std::byte> file, const std::filesystem::path& path,
                             const std::function<std::uint64_t(std::uint64_t end)>& read);

}  // namespace warploom
