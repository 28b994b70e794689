#include "cuda/sampling/sample_args.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cuda {

namespace {

template <typename T>
void require(bool ok, const char* what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

}  // namespace

void check_args(const SampleArgs& a) {
  require(a.vocab >= 1 && a.vocab <= (std::int64_t{1} << 22), "vocab", a.vocab, "in [1, 2^22]");
  require(a.rows >= 0 && a.rows < (std::int64_t{1} << 31) / kMaxSampleParts, "rows", a.rows, "in [0, 2^24)");
  require(a.row_stride >= a.vocab, "row_stride", a.row_stride, "at least the vocabulary");
  require(a.parts >= 0 && a.parts <= kMaxSampleParts, "parts", a.parts, "in [0, 128]");
  require(a.type <= LogitType::bf16, "type", static_cast<int>(a.type), "a LogitType");
  if (a.rows == 0) return;
  require(a.logits != nullptr, "logits", "null", "device memory");
  require(a.token != nullptr, "token", "null", "device memory");
  require(a.status != nullptr, "status", "null", "device memory");
  require(!a.history || a.history_offsets, "history_offsets", "null", "given with history");
  require(!a.bias || a.bias_offsets, "bias_offsets", "null", "given with bias");
  require(!a.allowed || a.allowed_stride >= (a.vocab + 31) / 32, "allowed_stride", a.allowed_stride,
          "at least vocab / 32, rounded up");
}

void check_workspace(const void* workspace, std::size_t bytes, std::size_t needed) {
  require(bytes >= needed, "workspace_bytes", bytes, "at least sample_workspace_bytes()");
  require(needed == 0 || workspace != nullptr, "workspace", "null", "device memory");
}

}  // namespace warploom::cuda
