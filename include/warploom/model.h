// A language model loaded onto a device.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "warploom/device.h"
#include "warploom/export.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"

namespace warploom {

struct ModelOptions {
  DeviceOptions device;
  /// Called from the loading thread with the share done, in [0, 1].
  std::function<void(double)> progress;
};

/// The shape of a transformer of the Llama family.
struct ModelShape {
  std::string architecture;  ///< as the file names it, e.g. "llama"
  std::int64_t vocab_size = 0;
  std::int64_t context_length = 0;  ///< tokens the model was trained for
  std::int64_t num_layers = 0;
  std::int64_t hidden_size = 0;  ///< width of the residual stream
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;

  /// Bytes of keys and values that one token takes in a KV cache of this element type.
  std::int64_t kv_bytes_per_token(DType type) const { return 2 * num_layers * num_kv_heads * head_dim * bytes_of(type); }
};

/// Weights on a device. Immutable; share it between generators and threads.
class WARPLOOM_EXPORT Model {
 public:
  /// Loads a GGUF file (v2 or v3, Llama family). Throws ModelError, InvalidArgument, OutOfMemory or BackendError.
  static std::shared_ptr<const Model> load(const std::filesystem::path& path, const ModelOptions& options = {});

  virtual ~Model() = default;

  virtual const ModelShape& shape() const = 0;
  virtual std::uint64_t weight_bytes() const = 0;  ///< as kept on the device
  virtual const std::shared_ptr<const Tokenizer>& tokenizer() const = 0;
  virtual std::string device_description() const = 0;  ///< e.g. "cpu: avx512_vnni, 2 threads"
};

/// What a file says about itself, read without loading its weights.
struct FileTensor {
  std::string name;
  std::string type;                 ///< e.g. "Q4_1"
  std::vector<std::int64_t> shape;  ///< slowest-moving dimension first: [rows, columns]
  std::uint64_t offset = 0;         ///< from the file's start
  std::uint64_t bytes = 0;
};
struct FileEntry {
  std::string key;
  std::string value;  ///< as text; long arrays are cut
};
struct FileInfo {
  std::uint32_t version = 0;
  std::uint64_t bytes = 0;
  std::vector<FileEntry> metadata;
  std::vector<FileTensor> tensors;
};
/// Throws ModelError where the file cannot be read or is damaged.
WARPLOOM_EXPORT FileInfo inspect(const std::filesystem::path& path);

}  // namespace warploom
