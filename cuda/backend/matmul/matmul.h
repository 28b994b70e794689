// Matrix products of the CUDA backend and their weights. Weights are either packed for this library's own kernel, which
// reads quantised codes directly, or stored as rows of 16-bit floats for cuBLASLt.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/ops.h"
#include "cuda/runtime/launch_stream.h"

namespace warploom::cuda {

struct MatmulOptions {
  DType compute_type = DType::f16;  ///< f16 or bf16; the type of x and of weights that are not quantised
  bool dense = false;               ///< unpack every weight to 16-bit floats at load
  bool deterministic = false;       ///< a token's result does not depend on the number of tokens
};

/// Weights and products on one device. Not thread-safe.
class Matmul {
 public:
  /// `stream` must outlive it. Throws InvalidArgument, OutOfMemory, BackendError.
  Matmul(const MatmulOptions& options, const LaunchStream& stream);
  ~Matmul();

  /// As Backend::load_weight, on a stream of its own. Synchronous: the parts may be freed afterwards. Limits: 2^30 rows, 2^20
  /// columns. Throws InvalidArgument, OutOfMemory, BackendError.
  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts);

  /// As Backend::load_gated_weight; the same.
  std::unique_ptr<Weight> load_gated_weight(const WeightView& gate, const WeightView& up);

  /// As Backend::matmul, on the stream. x has the compute type; the weight comes from load_weight() of this object. With
  /// `deterministic`, or with packed weights and up to 256 tokens, a token's bits do not depend on the number of tokens.
  /// Allocates no device memory. Can be captured after it has run once with the same weight shape and number of tokens.
  /// Throws BackendError.
  void run(const MatmulArgs& args);
  /// As Backend::gated_matmul, on the stream; the weight comes from load_gated_weight() of this object. Where rows alternate and products are
  /// of packed weights, one kernel that leaves gate_up alone.
  void run(const GatedMatmulArgs& args);
  /// As Backend::embed, on the stream.
  void embed(const EmbedArgs& args);

  /// Whether later launches are dependent (LaunchStream).
  void set_dependent(bool dependent);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace warploom::cuda
