// From prompts to text.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "warploom/engine_options.h"
#include "warploom/export.h"
#include "warploom/model.h"
#include "warploom/request.h"

namespace warploom {

/// Throws InvalidArgument if a prompt is empty or longer than the context, or if a token is outside the vocabulary.
WARPLOOM_EXPORT void check_prompt(std::span<const TokenId> prompt, const ModelShape& shape);

/// Runs `requests` as one batch and returns their outputs in the same order. A sequence's tokens do not depend on what else is in
/// the batch (on CUDA this requires CudaOptions::deterministic). The KV cache is sized for these requests unless `options` say
/// otherwise, and goes when the call ends; a Generator keeps it.
/// Throws InvalidArgument if the model is null, or if a prompt is empty or longer than the context, a token id is outside the
/// vocabulary, or a parameter or option is out of range; ModelError if a prompt is messages and the model has no recognised
/// chat template; OutOfMemory; BackendError. An exception from a callback ends the call.
WARPLOOM_EXPORT std::vector<RequestOutput> generate(const std::shared_ptr<const Model>& model,
                                                    std::span<const Request> requests, const EngineOptions& options = {},
                                                    const Callbacks& callbacks = {});
WARPLOOM_EXPORT RequestOutput generate(const std::shared_ptr<const Model>& model, const Request& request,
                                       const EngineOptions& options = {}, const Callbacks& callbacks = {});

/// Generates again and again with one KV cache: work buffers, recorded CUDA graphs and computed prefixes are kept from call to
/// call, so that a prompt that shares a prefix with earlier text is computed only from the first block that differs. Safe to
/// use from several threads: calls run one after the other, and each waits until the one in progress has ended. A callback must
/// not call the Generator that it was given to: that throws InvalidArgument. After an exception a Generator stays usable,
/// unless the device failed. Keeps the model alive. A Generator that was moved from may only be assigned to or destroyed.
class WARPLOOM_EXPORT Generator {
 public:
  /// Memory is taken at the first call. Throws InvalidArgument.
  explicit Generator(const std::shared_ptr<const Model>& model, const EngineOptions& options = {});
  /// The same with another tokenizer than the model file's.
  Generator(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
            const EngineOptions& options = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  /// As the functions above, on the KV cache that the options size and that stays.
  RequestOutput generate(const Request& request, const Callbacks& callbacks = {});
  std::vector<RequestOutput> generate(std::span<const Request> requests, const Callbacks& callbacks = {});

  std::int64_t kv_cache_capacity() const;  ///< in tokens; 0 before the first call
  std::int64_t cached_tokens() const;  ///< number of tokens whose keys and values are kept for later prompts; whole blocks
  void clear_cache();                  ///< drops them

  const std::shared_ptr<const Model>& model() const;
  const std::shared_ptr<const Tokenizer>& tokenizer() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace warploom
