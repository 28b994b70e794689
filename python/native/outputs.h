// What comes back from a request.
#pragma once

#include <nanobind/nanobind.h>

#include "warploom/request.h"

namespace warploom::python {

namespace nb = nanobind;

void bind_outputs(nb::module_& m);

}  // namespace warploom::python
