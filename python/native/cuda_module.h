// The second extension module, warploom._cuda, which works on tensors in a GPU's memory. It is there if the package was built
// where nvcc of CUDA 13 is, and takes CUDA's runtime library.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

/// Whether an array says that it is on a GPU; if so it has not been exported yet. Throws InvalidArgument on a device that
/// neither module knows.
bool is_on_gpu(nb::handle object, const char* name);
/// The module. Throws BackendError with `name` and what is missing.
nb::object cuda_module(const char* name);

}  // namespace warploom::python
