// A request as Python says it.
#pragma once

#include <memory>

#include <nanobind/nanobind.h>

#include "native/callbacks.h"
#include "warploom/request.h"

namespace warploom::python {

struct PyRequest {
  Request request;
  std::shared_ptr<CallbackFailure> failure = std::make_shared<CallbackFailure>();
};

void bind_request(nb::module_& m);

}  // namespace warploom::python
