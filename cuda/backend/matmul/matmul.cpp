#include "cuda/backend/matmul/matmul.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/backend/matmul/batch_workspace.h"
#include "cuda/backend/matmul/cublas.h"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/upload.h"
#include "cuda/backend/matmul/weight.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::int64_t kMaxPackedTokens = 256;                 // with more, unpacking for cuBLASLt is faster
constexpr std::size_t kUnpackedBytes = std::size_t{32} << 20;  // of a slice, which should stay in the L2 cache

}  // namespace

struct Matmul::State {
  State(const MatmulOptions& o, const LaunchStream& s) : options(o), stream(s), uploader(o) {
    if (options.compute_type != DType::f16 && options.compute_type != DType::bf16)
      throw InvalidArgument("activations of matrix products are f32; f16 or bf16 are supported");
    if (!options.dense || options.deterministic) batch.emplace(stream.stream);
    if (options.deterministic) return;
    dense.emplace(options.compute_type, stream.stream);
    if (!options.dense) unpacked = DeviceBuffer(kUnpackedBytes, "unpacked weights");
  }

  // Whether products of packed weights read them as they are.
  bool reads_packed(std::int64_t tokens) const { return tokens <= kMaxPackedTokens || options.deterministic; }

  void run_packed(const DeviceWeight& weight, const MatmulArgs& args) {
    for (const PackedPart& part : weight.packed())
      run_part(part.view, args.x, args.tokens,
               {args.bias ? args.bias + part.first_row : nullptr, args.out + part.first_row, weight.rows(), false});
  }
  void run_part(const PackedView& view, const void* x, std::int64_t tokens, const Epilogue& to) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && view.cols % 8 == 0;
    if (aligned && tokens > kTokenTile)
      launch_packed_matmul_batch(view, options.compute_type, x, tokens, to, batch->workspace(), stream);
    else
      launch_packed_matmul(view, options.compute_type, x, tokens, to, stream);
  }

  // Unpacks the weight slice by slice into the same memory.
  void run_unpacked(const DeviceWeight& weight, const MatmulArgs& args) {
    const std::int64_t stride = dense_stride(weight.cols());
    const auto slice = static_cast<int>(unpacked.bytes() / static_cast<std::size_t>(stride * kTileRows * 2));
    for (const PackedPart& part : weight.packed())
      for (int begin = 0; begin < part.view.row_tiles; begin += slice) {
        const int end = std::min(begin + slice, part.view.row_tiles);
        const int first = first_row_of(part.view, begin), rows = first_row_of(part.view, end) - first;
        launch_unpack(part.view, options.compute_type, begin, end, stride, unpacked.data(), stream.stream);
        run_dense(unpacked.data(), stride, part.first_row + first, rows, weight, args);
      }
  }

  // Multiplies by `rows` rows of the weight, starting at first_row. data: the first of them.
  void run_dense(const void* data, std::int64_t stride, std::int64_t first_row, std::int64_t rows,
                 const DeviceWeight& weight, const MatmulArgs& args) {
    DenseProduct p;
    p.weight = data;
    p.rows = rows;
    p.cols = weight.cols();
    p.weight_stride = stride;
    p.x = args.x;
    p.tokens = args.tokens;
    p.bias = args.bias ? args.bias + first_row : nullptr;
    p.out = args.out + first_row;
    p.out_stride = weight.rows();
    dense->run(p);
  }

  MatmulOptions options;
  LaunchStream stream;
  WeightUploader uploader;
  std::optional<BatchWorkspace> batch;  // empty if no weight is packed
  std::optional<DenseMatmul> dense;     // empty if deterministic
  DeviceBuffer unpacked;
};

Matmul::Matmul(const MatmulOptions& options, const LaunchStream& stream)
    : state_(std::make_unique<State>(options, stream)) {}
Matmul::~Matmul() = default;

std::unique_ptr<Weight> Matmul::load_weight(std::span<const WeightView> parts) { return state_->uploader.upload(parts); }

std::unique_ptr<Weight> Matmul::load_gated_weight(const WeightView& gate, const WeightView& up) {
  return state_->uploader.upload_gated(gate, up);
}

void Matmul::run(const MatmulArgs& args) {
  const auto& weight = static_cast<const DeviceWeight&>(*args.weight);
  if (args.tokens == 0) return;
  if (weight.stride() != 0)
    state_->run_dense(weight.dense(), weight.stride(), 0, weight.rows(), weight, args);
  else if (state_->reads_packed(args.tokens))
    state_->run_packed(weight, args);
  else
    state_->run_unpacked(weight, args);
}

void Matmul::run(const GatedMatmulArgs& args) {
  const auto& weight = static_cast<const DeviceWeight&>(*args.weight);
  if (args.tokens == 0) return;
  const DType type = state_->options.compute_type;
  const std::int64_t intermediate_size = args.intermediate_size();
  if (weight.alternating() && state_->reads_packed(args.tokens))
    return state_->run_part(weight.packed().front().view, args.x, args.tokens,
                            {args.bias, args.out, intermediate_size, true});
  const SwigluArgs gate{args.gate_up, args.tokens, intermediate_size, args.out};
  run(MatmulArgs{args.weight, args.x, weight.alternating() ? nullptr : args.bias, args.tokens, args.gate_up});
  if (weight.alternating())
    launch_alternating_swiglu(gate, args.bias, type, state_->stream);
  else
    launch_swiglu(gate, type, state_->stream);
}

void Matmul::set_dependent(bool dependent) { state_->stream.dependent = dependent; }

void Matmul::embed(const EmbedArgs& args) {
  const auto& table = static_cast<const DeviceWeight&>(*args.table);
  const DType type = state_->options.compute_type;
  if (table.stride() != 0)
    return launch_dense_embed(table.dense(), type, table.cols(), table.stride(), args.ids, args.tokens, args.out,
                              state_->stream.stream);
  for (const PackedPart& part : table.packed())
    launch_packed_embed(part.view, type, part.first_row, args.ids, args.tokens, args.out, state_->stream.stream);
}

}  // namespace warploom::cuda
