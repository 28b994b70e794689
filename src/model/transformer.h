// The forward pass, written once against Backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace warploom {

/// One step's input: tokens of several sequences, each sequence's tokens adjacent and in order. Host memory.
struct StepInput {
  std::vector<TokenId> ids;                 // [tokens]
  std::vector<std::int32_t> positions;      // [tokens]
  std::vector<std::int32_t> sequences;      // [tokens], index into block_tables' rows
  std::vector<std::int32_t> block_tables;   // [sequences, table_stride]
  std::int64_t table_stride = 0;
  std::vector<std::int32_t> outputs;        // indices into ids of the tokens whose logits are wanted; may be empty

  void clear();
};

/// Weights on a backend. Immutable; steps run on StepBuffers.
class Transformer {
 public:
  virtual ~Transformer() = default;
  virtual const ModelConfig& config() const = 0;
  virtual Backend& backend() const = 0;
  virtual std::uint64_t weight_bytes() const = 0;
};

/// Step buffers of fixed address and the step itself. One per user of a model; not thread-safe, takes the backend's
/// step_mutex for each call.
class TransformerSession {
 public:
  /// `max_tokens` tokens a step, `max_outputs` rows of logits, `max_sequences` rows of `table_stride` block-table entries.
  struct Limits {
    std::int64_t max_tokens = 0;
    std::int64_t max_outputs = 0;
    std::int64_t max_sequences = 0;
    std::int64_t table_stride = 0;
  };
  virtual ~TransformerSession() = default;
  /// Runs the step; logits of the wanted tokens lie at logits() until the next call. Throws BackendError, after which
  /// every further call throws too.
  virtual void forward(const StepInput& input, KvStorage& cache) = 0;
  /// Samples from rows 0 to rows.size() - 1 of logits().
  virtual void sample(std::span<const SampleRow> rows, const SampleWants& wants, std::span<SampleResult> results) = 0;
  virtual void copy_block(KvStorage& cache, std::int32_t from, std::int32_t to) = 0;
  /// [outputs, vocab] copied to host memory.
  virtual void download_logits(std::span<float> out) = 0;
  virtual std::uint64_t bytes() const = 0;
};

/// Loads every weight of the file onto the backend, giving the file's pages back as it goes. Throws ModelError, OutOfMemory.
std::unique_ptr<Transformer> load_transformer(const class GgufFile& file, std::unique_ptr<Backend> backend,
                                              const std::function<void(double)>& progress = {});

std::unique_ptr<TransformerSession> create_session(const Transformer& model, const TransformerSession::Limits& limits);

/// The Transformer behind a public Model. Defined in model.cpp.
const Transformer& transformer_of(const Model& model);
/// What its KV caches store.
KvType kv_type_of(const Model& model);

}  // namespace warploom
