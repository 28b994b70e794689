// The families of models that this library runs, by the architectures that checkpoints name.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/decoder_model.h"

namespace warploom {

struct ModelFamily {
  std::string_view architecture;
  /// All that load reads if the checkpoint has it.
  std::vector<TensorName> (*tensors)(const Checkpoint& checkpoint, const ModelConfig& config);
  /// Loads the weights. Throws ModelError, OutOfMemory or BackendError.
  std::unique_ptr<DecoderModel> (*load)(const Checkpoint& checkpoint, ModelConfig config, std::unique_ptr<Backend> backend,
                                        const std::function<void(double)>& progress);
};

/// Throws ModelError naming those that are supported if the checkpoint's is not one of them.
const ModelFamily& family_of(const Checkpoint& checkpoint);

}  // namespace warploom
