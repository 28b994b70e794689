// Matrix products of the CUDA backend, and the weights that they read. Weights are packed for a kernel of our own, which
// reads 4-bit codes as 4 bits, or kept row after row in 16 bits for cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>

#include "backend/ops.h"

namespace warploom::cuda {

struct MatmulOptions {
  DType compute_type = DType::f16;  ///< f16 or bf16: of x, and of weights that are not quantised
  bool dense = false;               ///< unpack every weight to 16 bits at load
  bool deterministic = false;       ///< a row's result does not depend on how many rows there are
};

/// Weights and products on one device. Not thread-safe.
class Matmul {
 public:
  /// `stream` must outlive it. Throws InvalidArgument, OutOfMemory, BackendError.
  Matmul(const MatmulOptions& options, cudaStream_t stream);
  ~Matmul();

  /// As Backend::load_weight. Synchronous: the parts may go away afterwards. At most 2^30 rows and 2^20 columns. Throws
  /// InvalidArgument, OutOfMemory, BackendError.
  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts);

  /// As Backend::matmul, on the stream; x is of the compute type. Up to 64 tokens, and any number where it is
  /// deterministic, a token's result is the same bits whatever the number of tokens; not so in dense mode that is not
  /// deterministic. Weights come from prepare() of this object. Allocates no device memory; can be captured once a shape
  /// (a weight's and the number of tokens) has been seen. Throws BackendError.
  void run(const MatmulArgs& args);
  /// As Backend::embed, on the stream.
  void embed(const EmbedArgs& args);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace warploom::cuda
