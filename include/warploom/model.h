// A language model loaded onto a device.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "warploom/device.h"
#include "warploom/export.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"

namespace warploom {

struct ModelOptions {
  DeviceOptions device;
  /// Called from the loading thread with the share done, in [0, 1]. What it throws ends the loading.
  std::function<void(double)> progress;
};

/// The shape of a decoder-only transformer.
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
  bool tie_word_embeddings = false;  ///< the output matrix is the embedding

  /// Bytes of keys and values that one token takes in a KV cache of this element type.
  std::int64_t kv_bytes_per_token(DType type) const { return num_layers * num_kv_heads * kv_bytes_of(type, head_dim); }
};

/// Weights on a device, and the tokenizer that belongs to them. Immutable; share it between generators and threads. Whatever
/// uses a model keeps it alive.
class WARPLOOM_EXPORT Model final {
 public:
  /// Loads a GGUF file (v2 or v3; Llama family, Qwen2), without mixtures of experts. Once it has
  /// returned, the file may be changed or deleted. Throws ModelError, InvalidArgument, OutOfMemory or BackendError.
  [[nodiscard]] static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                                         const ModelOptions& options = {});

  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelShape& shape() const;
  std::uint64_t weight_bytes() const;  ///< as kept on the device
  const std::shared_ptr<const Tokenizer>& tokenizer() const;
  const DeviceInfo& device() const;

 private:
  struct State;
  friend class ModelAccess;
  explicit Model(std::unique_ptr<const State> state);
  const std::unique_ptr<const State> state_;
};

}  // namespace warploom
