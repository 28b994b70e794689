// Continuous batching: requests that come and go.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

void bind_engine(nb::module_& m);

}  // namespace warploom::python
