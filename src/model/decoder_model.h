// A decoder-only transformer: its weights on a backend, and its forward pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "backend/backend.h"
#include "model/activations.h"
#include "model/config.h"
#include "model/device_batch.h"

namespace warploom {

/// Immutable, so that several runners can use it at once. A family of models is one implementation: see model/llama.cpp.
class DecoderModel {
 public:
  virtual ~DecoderModel() = default;
  virtual const ModelConfig& config() const = 0;
  virtual Backend& backend() const = 0;
  virtual std::uint64_t weight_bytes() const = 0;

  /// Stores the batch's keys and values in `cache` and leaves the wanted logits in `activations.logits`. Calls ops only:
  /// nothing waits.
  virtual void forward(const DeviceBatch& batch, KvCache& cache, Activations& activations) const = 0;
};

/// Loads every weight of the checkpoint onto the backend, releasing its memory as it goes. Throws ModelError, OutOfMemory or
/// BackendError.
std::unique_ptr<DecoderModel> load_decoder_model(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend,
                                                 const std::function<void(double)>& progress = {});

}  // namespace warploom
