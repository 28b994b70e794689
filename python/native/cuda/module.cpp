// The extension module warploom._cuda: warploom._native imports it when it meets a tensor on a GPU.
#include <nanobind/nanobind.h>

#include "native/cuda/device_array.h"
#include "native/cuda/draws.h"
#include "native/errors.h"

NB_MODULE(_cuda, m) {
  using namespace warploom::python;
  m.doc() = "Warploom's sampling on tensors in a GPU's memory.";
  find_errors(nb::module_::import_("warploom._native"));
  bind_device_array(m);
  bind_draws(m);
}
