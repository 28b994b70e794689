// From prompts to text, in one call or event by event.
#pragma once

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

void bind_generator(nb::module_& m);

}  // namespace warploom::python
