#include "native/cuda_module.h"

#include <string>

#include "native/array_checks.h"
#include "warploom/error.h"

namespace warploom::python {

bool is_on_gpu(nb::handle object, const char* name) {
  const Place place = place_of(object, name);
  if (!place.on_host() && !place.on_gpu()) refuse_device(name, place.type);
  return place.on_gpu();
}

nb::object cuda_module(const char* name) {
  const std::string here = std::string(name) + " is on a GPU, and ";
  try {
    return nb::module_::import_("warploom._cuda");
  } catch (const nb::python_error& error) {
    if (error.matches(PyExc_ModuleNotFoundError))
      throw BackendError(here +
                         "this package has no module for CUDA: there was no nvcc of CUDA 13 where it was built, or "
                         "WARPLOOM_CUDA was off. Build it again, or move the array to the CPU");
    if (!error.matches(PyExc_ImportError)) throw;
    throw BackendError(here + "the module for CUDA cannot be loaded: " + nb::str(error.value()).c_str() +
                       " (pip install \"warploom[cuda]\" brings CUDA's libraries)");
  }
}

}  // namespace warploom::python
