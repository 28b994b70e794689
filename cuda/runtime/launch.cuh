// Kernel launches that report their own error. cudaGetLastError() could return the error of an earlier call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <type_traits>

#include "cuda/runtime/check.h"

namespace warploom::cuda {

/// Throws BackendError with `what` if the launch fails.
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), const char* what, dim3 grid, unsigned threads, std::size_t shared_bytes,
            cudaStream_t stream, std::type_identity_t<Parameters>... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, dim3(threads), pointers, shared_bytes, stream), what);
}

}  // namespace warploom::cuda
