// Python objects that the library calls back, from whatever thread.
#pragma once

#include <exception>
#include <memory>
#include <mutex>

#include <nanobind/nanobind.h>

#include "warploom/request.h"

namespace warploom::python {

namespace nb = nanobind;

/// What a request's callback raised: the library only keeps its text.
class CallbackFailure {
 public:
  void keep(std::exception_ptr raised) {
    const std::lock_guard lock(mutex_);
    if (!raised_) raised_ = std::move(raised);
  }
  std::exception_ptr take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(raised_, nullptr);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr raised_;
};

/// Has an object's method allowed(history) say before each draw which tokens may be drawn.
TokenConstraint constraint_of(const nb::object& object, std::shared_ptr<CallbackFailure> failure);
/// Has processor(history, logits) change the logits before each draw.
LogitsProcessor logits_processor_of(const nb::object& processor, std::shared_ptr<CallbackFailure> failure);

}  // namespace warploom::python
