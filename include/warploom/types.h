// Plain values that several public headers share.
#pragma once

#include <cstdint>

namespace warploom {

/// Index into a model's vocabulary; -1 stands for "no token".
using TokenId = std::int32_t;

/// Element types of logits.
enum class LogitType : std::uint8_t { f32, f16, bf16 };

/// Element types in which the KV cache may be stored.
enum class KvType : std::uint8_t { f16, f32 };

/// Why a sequence ended.
enum class FinishReason : std::uint8_t {
  running,         ///< it has not ended yet
  stop_token,      ///< an end-of-sequence token, or one of the caller's stop tokens
  stop_string,     ///< one of the caller's stop strings appeared; the text ends before it
  length,          ///< max_tokens were generated
  context_full,    ///< the model's context length, or the whole KV cache, is used up
  cancelled,       ///< the callback returned false
  invalid_logits,  ///< the model produced NaN or +inf (or masked every token): nothing can be drawn
};

/// The name as the command line and JSON print it, for instance "stop_token".
constexpr const char* name(FinishReason reason) {
  switch (reason) {
    case FinishReason::running: return "running";
    case FinishReason::stop_token: return "stop_token";
    case FinishReason::stop_string: return "stop_string";
    case FinishReason::length: return "length";
    case FinishReason::context_full: return "context_full";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::invalid_logits: return "invalid_logits";
  }
  return "unknown";
}

}  // namespace warploom
