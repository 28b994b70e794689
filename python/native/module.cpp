// The extension module warploom._native. The package's Python code is what users see.
#include <nanobind/nanobind.h>

#include "native/engine.h"
#include "native/errors.h"
#include "native/fork.h"
#include "native/generator.h"
#include "native/model.h"
#include "native/outputs.h"
#include "native/request.h"
#include "native/sampling.h"
#include "native/tokenizer.h"
#include "warploom/device.h"
#include "warploom/version.h"

NB_MODULE(_native, m) {
  using namespace warploom::python;
  m.doc() = "Warploom's library as Python sees it.";
  count_forks();
  bind_errors(m);
  bind_sampling(m);
  bind_building_blocks(m);
  bind_tokenizer(m);
  bind_model(m);
  bind_outputs(m);
  bind_request(m);
  bind_generator(m);
  bind_engine(m);
  m.def(
      "version", [] { return warploom::version().text; }, "The release, \"0.1.0\" for instance.");
  m.def("available_cpus", &warploom::available_cpus, "Cores that this process may keep busy.");
}
