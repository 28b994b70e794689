// A request as Python says it.
#pragma once

#include <memory>

#include <nanobind/nanobind.h>

#include "native/callbacks.h"
#include "warploom/request.h"

namespace warploom::python {

/// A request that is about to run, with its callbacks.
struct ArmedRequest {
  Request request;
  std::shared_ptr<RunCallbacks> callbacks;
};

struct PyRequest {
  Request request;                       // without callbacks
  nb::object allowed, logits_processor;  // a method and a callable; may be null

  ArmedRequest arm() const;
};

void bind_request(nb::module_& m);

}  // namespace warploom::python
