#include "cuda/backend/matmul/upload.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "core/check.h"
#include "cuda/backend/matmul/pack.h"
#include "cuda/runtime/check.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kStagingBytes = std::size_t{16} << 20;
constexpr std::size_t kThreadBytes = std::size_t{256} << 10;  // of work that justify a thread
constexpr std::size_t kMaxThreads = 16;
constexpr std::size_t kBoundary = 256;  // of segments: whole sectors, and more than any load requires

using PackUnits = std::function<void(std::int64_t, std::int64_t, std::byte*)>;

// Packs units [first, first + count) to `out`, with several threads if there is enough work. `pack` must not throw.
void pack_in_parallel(std::int64_t first, std::int64_t count, std::size_t unit_bytes, std::byte* out,
                      const PackUnits& pack) {
  const std::size_t bytes = static_cast<std::size_t>(count) * unit_bytes;
  const auto threads = static_cast<std::int64_t>(std::clamp<std::size_t>(
      std::min<std::size_t>(bytes / kThreadBytes, std::thread::hardware_concurrency()), 1, kMaxThreads));
  const auto part = [&](std::int64_t i) {
    const std::int64_t begin = count * i / threads, end = count * (i + 1) / threads;
    pack(first + begin, first + end, out + static_cast<std::size_t>(begin) * unit_bytes);
  };
  std::vector<std::jthread> others;
  std::int64_t mine = 1;  // this thread packs parts [0, mine); more than one if a thread cannot be started
  for (std::int64_t i = threads; i-- > 1;) {
    try {
      others.emplace_back(part, i);
    } catch (const std::system_error&) {
      mine = i + 1;
      break;
    }
  }
  for (std::int64_t i = 0; i < mine; ++i) part(i);
}

void check_parts(std::span<const WeightView> parts) {
  require_that(!parts.empty(), "prepare: no weights given");
  constexpr std::int64_t kMaxRows = std::int64_t{1} << 30;
  const std::int64_t cols = parts.front().cols;
  std::int64_t rows = 0;
  for (const WeightView& part : parts) {
    const WeightTypeTraits type = traits(part.type);
    require_that(part.cols == cols && part.rows >= 1 && part.cols >= 1 && part.cols % type.block == 0,
                 "prepare: {} is [{}, {}] of {}; expected {} columns in whole blocks of {}", part.name, part.rows, part.cols,
                 type.name, cols, type.block);
    rows += std::min(part.rows, kMaxRows + 1);
    require_that(rows <= kMaxRows && cols <= kMaxCols,
                 "prepare: {} is [{}, {}], or with the parts before it {} rows; at most [{}, {}] are supported", part.name,
                 part.rows, part.cols, rows, std::int64_t{kMaxRows}, std::int64_t{kMaxCols});
  }
}

}  // namespace

std::unique_ptr<DeviceWeight> WeightUploader::upload(std::span<const WeightView> parts) {
  check_parts(parts);
  parts = reader_.read(parts);
  auto weight = std::make_unique<DeviceWeight>();
  weight->cols_ = parts.front().cols;
  for (const WeightView& part : parts) weight->rows_ += part.rows;
  options_.dense && !options_.deterministic ? upload_dense(parts, *weight) : upload_packed(parts, *weight);
  return weight;
}

std::unique_ptr<DeviceWeight> WeightUploader::upload_gated(const WeightView& gate, const WeightView& up) {
  const WeightView both[] = {gate, up};
  check_parts(both);
  require_that(gate.rows == up.rows, "prepare: {} has {} rows and {} has {}; they must have as many", gate.name, gate.rows,
               up.name, up.rows);
  const bool packed = !options_.dense || options_.deterministic;
  if (!packed || gate.type != up.type || gate.rows % (kTileRows / 2) != 0) return upload(both);
  const std::span<const WeightView> read = reader_.read(both);
  auto weight = std::make_unique<DeviceWeight>();
  upload_alternating(read[0], read[1], *weight);
  return weight;
}

void WeightUploader::upload_alternating(const WeightView& gate, const WeightView& up, DeviceWeight& weight) {
  weight.alternating_ = true;
  weight.rows_ = 2 * gate.rows;
  weight.cols_ = gate.cols;
  PackedView& view = weight.packed_.emplace_back().view;
  view.segment_count = 1;
  view.rows = static_cast<int>(weight.rows_);
  view.cols = static_cast<int>(weight.cols_);
  view.row_tiles = view.rows / kTileRows;
  view.col_tiles = static_cast<int>(ceil_div(weight.cols_, kTileInputs));
  TileSegment& segment = view.segments[0];
  segment.format = options_.dense ? TileFormat{} : tile_format(gate.type);
  segment.rows = view.rows;
  segment.tile_row_bytes = view.col_tiles * tile_bytes(segment.format);
  const auto row_bytes = static_cast<std::size_t>(segment.tile_row_bytes);
  weight.memory_ = DeviceBuffer(static_cast<std::size_t>(view.row_tiles) * row_bytes, "weights");
  auto* tiles = static_cast<std::byte*>(weight.memory_.data());
  segment.tiles = tiles;
  copy_in_pieces(view.row_tiles, row_bytes, tiles, [&](std::int64_t begin, std::int64_t end, std::byte* out) {
    pack_alternating_tiles(gate, up, segment.format, options_.compute_type, begin, end, out);
  });
}

void WeightUploader::upload_packed(std::span<const WeightView> parts, DeviceWeight& weight) {
  const std::int64_t col_tiles = ceil_div(weight.cols_, kTileInputs);
  std::vector<std::size_t> offsets;
  std::size_t bytes = 0;
  int first_row = 0;
  for (const WeightView& part : parts) {
    if (weight.packed_.empty() || weight.packed_.back().view.segment_count == kMaxSegments) {
      weight.packed_.push_back({{}, first_row});
      weight.packed_.back().view.cols = static_cast<int>(weight.cols_);
      weight.packed_.back().view.col_tiles = static_cast<int>(col_tiles);
    }
    PackedView& view = weight.packed_.back().view;
    TileSegment& segment = view.segments[view.segment_count++];
    segment.format = options_.dense ? TileFormat{} : tile_format(part.type);
    segment.first_row = view.rows;
    segment.first_tile = view.row_tiles;
    segment.rows = static_cast<int>(part.rows);
    segment.tile_row_bytes = static_cast<int>(col_tiles) * tile_bytes(segment.format);
    const auto row_tiles = static_cast<int>(ceil_div(part.rows, kTileRows));
    view.rows += segment.rows;
    view.row_tiles += row_tiles;
    first_row += segment.rows;
    offsets.push_back(bytes);
    bytes += align_up(static_cast<std::size_t>(row_tiles) * static_cast<std::size_t>(segment.tile_row_bytes), kBoundary);
  }
  weight.memory_ = DeviceBuffer(bytes, "weights");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    TileSegment& segment = weight.packed_[i / kMaxSegments].view.segments[i % kMaxSegments];
    std::byte* tiles = static_cast<std::byte*>(weight.memory_.data()) + offsets[i];
    segment.tiles = tiles;
    copy_in_pieces(ceil_div(parts[i].rows, kTileRows), static_cast<std::size_t>(segment.tile_row_bytes), tiles,
                   [&](std::int64_t begin, std::int64_t end, std::byte* out) {
                     pack_tiles(parts[i], segment.format, options_.compute_type, begin, end, out);
                   });
  }
}

void WeightUploader::upload_dense(std::span<const WeightView> parts, DeviceWeight& weight) {
  weight.stride_ = dense_stride(weight.cols_);
  const auto row_bytes = static_cast<std::size_t>(weight.stride_) * sizeof(std::uint16_t);
  weight.memory_ = DeviceBuffer(static_cast<std::size_t>(weight.rows_) * row_bytes, "weights");
  auto* to = static_cast<std::byte*>(weight.memory_.data());
  for (const WeightView& part : parts) {
    copy_in_pieces(part.rows, row_bytes, to, [&](std::int64_t begin, std::int64_t end, std::byte* out) {
      pack_rows(part, options_.compute_type, begin, end, weight.stride_, reinterpret_cast<std::uint16_t*>(out));
    });
    to += static_cast<std::size_t>(part.rows) * row_bytes;
  }
}

void WeightUploader::copy_in_pieces(std::int64_t units, std::size_t unit_bytes, std::byte* to, const PackUnits& pack) {
  const std::size_t wanted = std::max(unit_bytes, kStagingBytes);
  if (staging_.bytes() < wanted) {
    staging_ = {};
    staging_ = PinnedBuffer(wanted, "staging of weights");
  }
  auto* staging = static_cast<std::byte*>(staging_.data());
  const auto piece = static_cast<std::int64_t>(staging_.bytes() / unit_bytes);
  for (std::int64_t at = 0; at < units; at += piece) {
    const std::int64_t count = std::min(piece, units - at);
    const std::size_t bytes = static_cast<std::size_t>(count) * unit_bytes;
    pack_in_parallel(at, count, unit_bytes, staging, pack);
    check(cudaMemcpyAsync(to, staging, bytes, cudaMemcpyHostToDevice, stream_.get()), "copying weights to the device");
    check(cudaStreamSynchronize(stream_.get()), "copying weights to the device");
    to += bytes;
  }
}

}  // namespace warploom::cuda
