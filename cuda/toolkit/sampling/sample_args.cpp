#include "cuda/toolkit/sampling/sample_args.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>

#include "warploom/error.h"

namespace warploom::cuda {

namespace {

template <typename T>
void require(bool ok, const char* what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

// A kernel that visits every token once more launches a block for 8192 of them.
bool fits_tiles(const SampleArgs& a) { return a.rows * ((a.vocab_size + 8191) / 8192) < std::int64_t{1} << 31; }

}  // namespace

void check_rows(const SampleArgs& a) {
  require(a.vocab_size >= 1 && a.vocab_size <= (std::int64_t{1} << 22), "vocab", a.vocab_size, "in [1, 2^22]");
  require(a.rows >= 0 && a.rows < (std::int64_t{1} << 31) / kMaxSampleParts, "rows", a.rows, "in [0, 2^24)");
  require(a.row_stride >= a.vocab_size, "row_stride", a.row_stride, "at least the vocabulary");
  require(a.parts >= 0 && a.parts <= kMaxSampleParts, "parts", a.parts, "in [0, 128]");
  require(a.type <= DType::bf16, "type", static_cast<int>(a.type), "f32, f16 or bf16");
  require(a.input <= SampleInput::probabilities, "input", static_cast<int>(a.input), "a SampleInput");
  require(a.default_temperature >= 0.0f && std::isfinite(a.default_temperature), "default_temperature",
          a.default_temperature, "finite and not negative");
  if (a.rows == 0) return;
  require(a.logits != nullptr, "logits", "null", "device memory");
  require(!a.history || a.history_offsets, "history_offsets", "null", "given with history");
  require(!a.bias || a.bias_offsets, "bias_offsets", "null", "given with bias");
  require(!a.allowed || a.allowed_stride >= (a.vocab_size + 31) / 32, "allowed_stride", a.allowed_stride,
          "at least vocab_size / 32, rounded up");
  if (a.input != SampleInput::probabilities) return;
  require(a.type == DType::f32, "type", static_cast<int>(a.type), "f32 for probabilities");
  const bool changed = a.temperature || a.default_temperature != 1.0f || a.history || a.bias || a.allowed;
  require(!changed, "temperature, history, bias or allowed", "given", "left out: probabilities are drawn as they are");
}

void check_output(const SampleArgs& a, const void* output, const char* name) {
  require(a.rows == 0 || output != nullptr, name, "null", "device memory");
}

void check_top_k(int k) { require(k >= 1 && k <= kMaxTop, "k", k, "in [1, 1024]"); }

void check_mask_stride(const SampleArgs& a, std::int64_t stride) {
  require(stride >= a.vocab_size, "stride of the mask", stride, "at least the vocabulary");
  require(fits_tiles(a), "rows", a.rows, "fewer for so large a vocabulary");
}

void check_outputs(const SampleArgs& a) {
  check_output(a, a.token, "token");
  check_output(a, a.status, "status");
  check_lists(a);
}

void check_lists(const SampleArgs& a) {
  if (a.rows == 0) return;
  require(a.top >= 0 && a.top <= kMaxTop, "top", a.top, "in [0, 1024]");
  require(a.top == 0 || a.top_token, "top_token", "null", "given with top");
  require(a.kept_capacity >= 0, "kept_capacity", a.kept_capacity, "at least 0");
  require(a.kept_capacity == 0 || a.kept, "kept", "null", "device memory for kept_capacity ids");
  require(!a.kept || a.kept_offsets, "kept_offsets", "null", "given with kept");
  const bool dense = a.probabilities || a.filtered_logits;
  require(!dense || a.dense_stride >= a.vocab_size, "dense_stride", a.dense_stride, "at least the vocabulary");
  const bool tiled = dense || a.kept_offsets;
  require(!tiled || fits_tiles(a), "rows", a.rows,
          "fewer for so large a vocabulary with kept_offsets, probabilities or filtered_logits");
  require(a.input == SampleInput::logits || !(a.logprob || a.top > 0), "logprob or top", "given",
          "left out where the input is probabilities");
}

void check_workspace(const Workspace& workspace, std::size_t needed) {
  require(workspace.bytes >= needed, "workspace.bytes", workspace.bytes, "at least sample_workspace_bytes()");
  require(needed == 0 || workspace.data != nullptr, "workspace.data", "null", "device memory");
  const bool aligned = needed == 0 || reinterpret_cast<std::uintptr_t>(workspace.data) % 16 == 0;
  require(aligned, "workspace.data", fmt::ptr(workspace.data), "aligned to 16 bytes");
}

}  // namespace warploom::cuda
