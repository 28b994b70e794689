#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

#include "checkpoint/file_bytes.h"
#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/quants.h"
#include "warploom/error.h"

namespace warploom {

void Checkpoint::fail(const std::string& what) const { throw ModelError(fmt::format("{}: {}", path().string(), what)); }

void Checkpoint::check_numbers(const WeightView& view) const {
  if (const std::int64_t row = first_row_without_numbers(view); row >= 0)
    fail(fmt::format("tensor \"{}\" holds weights that are not numbers, the first in row {}: the file is damaged", view.name,
                     row));
}

std::vector<float> Checkpoint::values(const TensorName& name, std::int64_t cols) const {
  WeightView view = tensor(name, 1, cols);
  std::vector<std::byte> bytes(view.bytes());
  read(view, bytes.data());
  view.data = bytes.data();
  check_numbers(view);
  std::vector<float> values(static_cast<std::size_t>(cols));
  dequantize_row(view, 0, values);
  return values;
}

std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  const FileBytes file(path);
  std::array<std::byte, 4> start;
  const auto there = std::span(start).first(std::min(file.size(), start.size()));
  file.read(0, there);
  if (is_gguf(there)) return open_gguf_checkpoint(path);
  throw ModelError(fmt::format("{}: is not a GGUF file: it does not start with \"GGUF\"", path.string()));
}

}  // namespace warploom
