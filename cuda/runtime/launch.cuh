// Launches with arguments of the kernel's types.
#pragma once

#include <type_traits>

#include "cuda/runtime/launch_stream.h"

namespace warploom::cuda {

/// Throws BackendError with `what` if the launch fails.
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), const char* what, dim3 grid, unsigned threads, std::size_t shared_bytes,
            const LaunchStream& stream, std::type_identity_t<Parameters>... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  launch_kernel(reinterpret_cast<const void*>(kernel), what, grid, threads, pointers, shared_bytes, stream);
}

}  // namespace warploom::cuda
