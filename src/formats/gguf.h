// GGUF v2 and v3 files, read through a memory mapping and checked before anything is believed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace warploom {

/// Metadata values. Arrays hold one kind each; nested arrays are refused.
using GgufArray = std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>, std::vector<bool>,
                               std::vector<std::string_view>>;
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

struct GgufTensor {
  std::string_view name;
  std::uint32_t raw_type = 0;       // ggml's number
  std::optional<WeightType> type;   // empty where this library does not know it
  std::string_view type_name;       // "Q4_1", or "type 23"
  std::vector<std::int64_t> shape;  // slowest-moving dimension first; at least one dimension
  std::uint64_t offset = 0;         // from the file's start
  std::uint64_t bytes = 0;          // 0 where the type is not known
};

/// An open file. Views into it live as long as it does. Immutable.
class GgufFile {
 public:
  /// Throws ModelError naming path and offset on anything damaged: sizes, counts and offsets are checked against the file's
  /// length before memory is taken for them, duplicate keys and tensors, overlapping and misaligned tensors are refused.
  static std::shared_ptr<const GgufFile> open(const std::filesystem::path& path);
  virtual ~GgufFile() = default;

  virtual const std::filesystem::path& path() const = 0;
  virtual std::uint32_t version() const = 0;
  virtual std::uint64_t bytes() const = 0;
  virtual std::span<const std::pair<std::string_view, GgufValue>> metadata() const = 0;
  virtual std::span<const GgufTensor> tensors() const = 0;

  virtual const GgufValue* find(std::string_view key) const = 0;           // null where absent
  virtual const GgufTensor* find_tensor(std::string_view name) const = 0;  // null where absent

  /// Typed access. The optional forms are empty where the key is absent; all throw ModelError where the kind is wrong or the
  /// number out of range, and the plain forms also where the key is absent.
  virtual std::optional<std::int64_t> get_int(std::string_view key) const = 0;
  virtual std::optional<double> get_float(std::string_view key) const = 0;
  virtual std::optional<bool> get_bool(std::string_view key) const = 0;
  virtual std::optional<std::string_view> get_string(std::string_view key) const = 0;
  virtual std::int64_t need_int(std::string_view key) const = 0;
  virtual std::string_view need_string(std::string_view key) const = 0;
  virtual const std::vector<std::string_view>* get_strings(std::string_view key) const = 0;  // null where absent

  /// The tensor as a matrix: a 1-D tensor is one row. Throws ModelError where absent, of an unknown type, of more than two
  /// dimensions, or not [rows, cols] (where those are >= 0).
  virtual WeightView matrix(std::string_view name, std::int64_t rows = -1, std::int64_t cols = -1) const = 0;

  /// Tells the kernel that these bytes of the mapping are not needed any more, so that they leave the resident set.
  virtual void release(const WeightView& view) const = 0;
};

}  // namespace warploom
