// The library's exceptions as Python's.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

/// Makes the exception classes, and has what the library throws raised as them.
void bind_errors(nb::module_& m);
/// The same with the classes that bind_errors() made in another module.
void find_errors(nb::handle module);

}  // namespace warploom::python
