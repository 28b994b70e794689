// The library's exceptions as Python's.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

/// Makes the exception classes, and has what the library throws raised as them.
void bind_errors(nb::module_& m);

}  // namespace warploom::python
