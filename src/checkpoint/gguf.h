// GGUF v2 and v3 files, checked before anything is believed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/file_bytes.h"
#include "checkpoint/gguf_parser.h"
#include "core/tensor.h"

namespace warploom {

/// An open file. Views into it live as long as it does. Immutable; safe to share between threads.
class GgufFile {
 public:
  /// Throws ModelError naming path and offset on anything damaged: sizes, counts and offsets are checked against the file's
  /// length before memory is taken for them, duplicate keys and tensors, overlapping and misaligned tensors are refused.
  explicit GgufFile(const std::filesystem::path& path);
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint32_t version() const { return header_.version; }
  std::uint64_t bytes() const { return file_.bytes().size(); }
  std::span<const std::pair<std::string_view, GgufValue>> metadata() const { return header_.metadata; }
  std::span<const GgufTensor> tensors() const { return header_.tensors; }

  const GgufValue* find(std::string_view key) const;           // null if absent
  const GgufTensor* find_tensor(std::string_view name) const;  // null if absent

  /// Typed access. The optional forms are empty if the key is absent; all throw ModelError if the kind is wrong or the
  /// number out of range, and the plain forms also if the key is absent.
  std::optional<std::int64_t> get_int(std::string_view key) const;
  std::vector<std::int64_t> get_ints(std::string_view key) const;  // of a number or an array; empty if the key is absent
  std::optional<double> get_float(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string_view> get_string(std::string_view key) const;
  std::int64_t need_int(std::string_view key) const;
  std::string_view need_string(std::string_view key) const;
  const std::vector<std::string_view>* get_strings(std::string_view key) const;  // null if absent

  /// The tensor as a matrix without its bytes, as Checkpoint's function, and the bytes of rows, whatever their numbers.
  WeightView matrix(std::string_view name, std::int64_t rows = -1, std::int64_t cols = -1) const;
  void read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  template <typename T>
  const T& get(std::string_view key, const GgufValue& value, const char* wanted) const;
  template <typename T>
  T need(std::string_view key, const std::optional<T>& value) const;
  void place_tensors();

  std::filesystem::path path_;
  FileBytes file_;
  GgufHeader header_;
  std::unordered_map<std::string_view, std::size_t> keys_, names_;
};

}  // namespace warploom
