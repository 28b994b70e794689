// Writes GGUF files, sound ones and broken ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "core/tensor.h"

namespace warploom::test {

/// ggml's number of a type, from ggml.h. It is not taken from the library: a wrong number there would be written and read alike.
inline std::uint32_t raw_type(WeightType type) {
  switch (type) {
    case WeightType::f32: return 0;
    case WeightType::f16: return 1;
    case WeightType::bf16: return 30;
    case WeightType::q4_0: return 2;
    case WeightType::q4_1: return 3;
    case WeightType::q5_0: return 6;
    case WeightType::q5_1: return 7;
    case WeightType::q8_0: return 8;
    case WeightType::q4_k: return 12;
    case WeightType::q5_k: return 13;
    case WeightType::q6_k: return 14;
  }
  return 0;
}

class GgufWriter {
 public:
  explicit GgufWriter(std::uint32_t version = 3) : version_(version) {}

  void add(const std::string& key, const std::string& value) { entry(key, 8), string(metadata_, value); }
  void add(const std::string& key, const char* value) { add(key, std::string(value)); }
  void add(const std::string& key, std::uint32_t value) { entry(key, 4), raw(metadata_, value); }
  void add(const std::string& key, float value) { entry(key, 6), raw(metadata_, value); }
  void add(const std::string& key, bool value) { entry(key, 7), raw(metadata_, static_cast<std::uint8_t>(value)); }
  void add(const std::string& key, const std::vector<std::string>& values) {
    array(key, 8, values.size());
    for (const std::string& v : values) string(metadata_, v);
  }
  void add(const std::string& key, const std::vector<std::int32_t>& values) {
    array(key, 5, values.size());
    for (const std::int32_t v : values) raw(metadata_, v);
  }
  void add(const std::string& key, const std::vector<float>& values) {
    array(key, 6, values.size());
    for (const float v : values) raw(metadata_, v);
  }
  /// shape: slowest-moving dimension first, as the library gives it; the file holds it the other way round.
  void add_tensor(const std::string& name, std::uint32_t raw_type, const std::vector<std::uint64_t>& shape,
                  const std::vector<std::byte>& data) {
    string(infos_, name);
    raw(infos_, static_cast<std::uint32_t>(shape.size()));
    for (auto it = shape.rbegin(); it != shape.rend(); ++it) raw(infos_, *it);
    raw(infos_, raw_type);
    raw(infos_, static_cast<std::uint64_t>(data_.size()));
    data_.append(reinterpret_cast<const char*>(data.data()), data.size());
    data_.resize((data_.size() + 31) / 32 * 32);
    ++tensors_;
  }

  std::string bytes() const {
    std::string file = "GGUF";
    raw(file, version_);
    raw(file, tensors_);
    raw(file, keys_);
    file += metadata_ + infos_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }

 private:
  template <typename T>
  static void raw(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void string(std::string& to, const std::string& value) {
    raw(to, static_cast<std::uint64_t>(value.size()));
    to += value;
  }
  void entry(const std::string& key, std::uint32_t kind) {
    string(metadata_, key);
    raw(metadata_, kind);
    ++keys_;
  }
  void array(const std::string& key, std::uint32_t kind, std::size_t count) {
    entry(key, 9);
    raw(metadata_, kind);
    raw(metadata_, static_cast<std::uint64_t>(count));
  }

  std::uint32_t version_;
  std::uint64_t tensors_ = 0, keys_ = 0;
  std::string metadata_, infos_, data_;
};

/// A file that goes away with its owner.
class TemporaryModel {
 public:
  explicit TemporaryModel(const std::string& bytes) {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("warploom-" + std::to_string(::getpid()) + "-" + std::to_string(count++) + ".gguf");
    write(bytes);
  }
  ~TemporaryModel() { std::filesystem::remove(path_); }
  TemporaryModel(const TemporaryModel&) = delete;
  TemporaryModel& operator=(const TemporaryModel&) = delete;
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace warploom::test
