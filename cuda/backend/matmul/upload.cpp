#include "cuda/backend/matmul/upload.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "cuda/backend/matmul/pack.h"
#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kStagingBytes = std::size_t{16} << 20;
constexpr std::size_t kThreadBytes = std::size_t{256} << 10;  // worth a thread
constexpr std::size_t kMaxThreads = 16;
constexpr std::size_t kBoundary = 256;  // of the segments: whole sectors, and more than any load needs

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

using PackUnits = std::function<void(std::int64_t, std::int64_t, std::byte*)>;

// Units [0, count) to `out`, by several threads where it is worth it. `pack` does not throw.
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
  std::int64_t mine = 1;  // parts [0, mine) are this thread's: more of them where no thread can be had
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
  if (parts.empty()) throw InvalidArgument("prepare: no weights given");
  constexpr std::int64_t kMaxRows = std::int64_t{1} << 30;
  const std::int64_t cols = parts.front().cols;
  std::int64_t rows = 0;
  for (const WeightView& part : parts) {
    if (part.cols != cols || part.rows < 1 || part.cols < 1 || part.cols % traits(part.type).block != 0)
      throw InvalidArgument(fmt::format("prepare: {} is [{}, {}] of {}; expected {} columns in whole blocks of {}",
                                        part.name, part.rows, part.cols, traits(part.type).name, cols,
                                        traits(part.type).block));
    rows += std::min(part.rows, kMaxRows + 1);
    if (rows > kMaxRows || cols > kMaxCols)
      throw InvalidArgument(
          fmt::format("prepare: {} is [{}, {}], or with the parts before it {} rows; at most [{}, {}] are supported",
                      part.name, part.rows, part.cols, rows, kMaxRows, kMaxCols));
  }
}

}  // namespace

std::unique_ptr<DeviceWeight> WeightUploader::upload(std::span<const WeightView> parts) {
  check_parts(parts);
  auto weight = std::make_unique<DeviceWeight>();
  weight->cols_ = parts.front().cols;
  for (const WeightView& part : parts) weight->rows_ += part.rows;
  options_.dense && !options_.deterministic ? upload_dense(parts, *weight) : upload_packed(parts, *weight);
  return weight;
}

void WeightUploader::upload_packed(std::span<const WeightView> parts, DeviceWeight& weight) {
  const std::int64_t col_tiles = (weight.cols_ + kTileInputs - 1) / kTileInputs;
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
    PackedSegment& segment = view.segments[view.segment_count++];
    segment.format = options_.dense ? TileFormat{} : tile_format(part.type);
    segment.first_row = view.rows;
    segment.first_tile = view.row_tiles;
    segment.rows = static_cast<int>(part.rows);
    segment.tile_row_bytes = static_cast<int>(col_tiles) * tile_bytes(segment.format);
    const auto row_tiles = static_cast<int>((part.rows + kTileRows - 1) / kTileRows);
    view.rows += segment.rows;
    view.row_tiles += row_tiles;
    first_row += segment.rows;
    offsets.push_back(bytes);
    bytes += round_up(static_cast<std::size_t>(row_tiles) * static_cast<std::size_t>(segment.tile_row_bytes), kBoundary);
  }
  weight.memory_ = DeviceBuffer(bytes, "weights");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    PackedSegment& segment = weight.packed_[i / kMaxSegments].view.segments[i % kMaxSegments];
    std::byte* tiles = static_cast<std::byte*>(weight.memory_.data()) + offsets[i];
    segment.tiles = tiles;
    copy_in_pieces((parts[i].rows + kTileRows - 1) / kTileRows, static_cast<std::size_t>(segment.tile_row_bytes), tiles,
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
    check(cudaMemcpyAsync(to, staging, bytes, cudaMemcpyHostToDevice, stream_), "copying weights to the device");
    check(cudaStreamSynchronize(stream_), "copying weights to the device");
    to += bytes;
  }
}

}  // namespace warploom::cuda
