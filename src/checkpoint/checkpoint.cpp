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

void Checkpoint::read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const {
  read_rows(view, first, count, out);
  WeightView rows = view;
  rows.rows = count;
  rows.data = out;
  if (const std::int64_t row = first_row_without_numbers(rows); row >= 0)
    fail(fmt::format("tensor \"{}\" holds weights that are not numbers, in row {} at least: the file is damaged", view.name,
                     first + row));
}

std::vector<float> Checkpoint::values(const TensorName& name, std::int64_t cols) const {
  WeightView view = tensor(name, 1, cols);
  std::vector<std::byte> bytes(view.bytes());
  read(view, 0, 1, bytes.data());
  view.data = bytes.data();
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
