// Links the CUDA kernels and calls them as far as it goes without a GPU.
#include <warploom/cuda/building_blocks.h>
#include <warploom/error.h>

#include <cstring>

int main() {
  try {
    warploom::cuda::sample({.rows = 1, .vocab_size = 0}, nullptr);
  } catch (const warploom::InvalidArgument& error) {
    return std::strstr(error.what(), "vocab") != nullptr ? 0 : 1;
  }
  return 1;
}
