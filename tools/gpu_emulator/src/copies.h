// What copies and fills do when they run: boxes of bytes, checked against the sanitiser's shadow on the device's side.
#pragma once

#include <cuda_runtime_api.h>

#include "graph.h"

namespace emulator {

struct Box {  // bytes; rows are `pitch` apart, slices `slice`
  size_t width = 0, height = 1, depth = 1;
  bool empty() const { return width == 0 || height == 0 || depth == 0; }
};
struct Side {
  uint64_t address = 0;
  size_t pitch = 0, slice = 0;
};

struct Copy {
  Side to, from;
  Box box;
};
struct Fill {
  Side to;
  Box box;
  uint32_t value = 0;
  unsigned element = 1;  // bytes: 1, 2 or 4
};

// What the runtime refuses before anything runs.
cudaError_t check_copy(const Copy& copy, cudaMemcpyKind kind);
cudaError_t check_fill(const Fill& fill);
bool check_target(const Copy& copy);            // that all of it is allocated, by check_allocated()
Copy copy_of(const cudaMemcpy3DParms& params);  // of pointers: an array is none of the emulator's

Work copy_work(const Copy& copy);
Work copy_work_now(const Copy& copy);  // reads its source, in pageable host memory, before it returns
Work fill_work(const Fill& fill);

// True where all bytes are allocated; a failed check stops the device as an access by a kernel would.
bool check_allocated(uint64_t address, size_t bytes, const char* what);

}  // namespace emulator
