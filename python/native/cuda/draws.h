// Drawing from tensors in a GPU's memory.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

void bind_draws(nb::module_& m);

}  // namespace warploom::python
