// Plain values that several public headers share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warploom {

/// Index into a model's vocabulary; -1 stands for "no token".
using TokenId = std::int32_t;

/// Element types of logits, activations and the KV cache. int8 is for the CPU's KV cache alone: whole numbers in [-127, 127] times an
/// f32 scale, one for each 32 dimensions of a key and one for a value.
enum class DType : std::uint8_t { f32, f16, bf16, int8 };

constexpr std::int64_t bytes_of(DType type) { return type == DType::f32 ? 4 : type == DType::int8 ? 1 : 2; }
/// Bytes that a token's key and value of one head take in a KV cache, with their scales.
constexpr std::int64_t kv_bytes_of(DType type, std::int64_t head_dim) {
  if (type != DType::int8) return 2 * head_dim * bytes_of(type);
  const std::int64_t key_scales = (head_dim + 31) / 32;
  return 2 * ((head_dim + 3) / 4 * 4) + (key_scales + 1) * static_cast<std::int64_t>(sizeof(float));
}

/// Memory that a call may overwrite, aligned to 16 bytes. A view: the caller owns it and keeps it until the call is done.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;

  bool operator==(const Workspace&) const = default;
};

/// Why a sequence ended.
enum class FinishReason : std::uint8_t {
  running,         ///< it has not ended yet
  stop_token,      ///< an end-of-sequence token, or one of the caller's stop tokens
  stop_string,     ///< one of the caller's stop strings appeared
  length,          ///< max_tokens were generated
  context_full,    ///< the model's context length, or the whole KV cache, is used up
  cancelled,       ///< a callback or the application asked for it
  deadline,        ///< the request's deadline passed
  invalid_logits,  ///< the model produced NaN or +inf (or masked every token): nothing can be drawn
  error,           ///< a callback threw or the device failed; RequestOutput::error says what
  shutdown,        ///< the engine was shut down
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
    case FinishReason::deadline: return "deadline";
    case FinishReason::invalid_logits: return "invalid_logits";
    case FinishReason::error: return "error";
    case FinishReason::shutdown: return "shutdown";
  }
  return "unknown";
}

}  // namespace warploom
