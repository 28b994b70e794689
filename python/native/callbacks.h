// Python objects that the library calls back, from whatever thread.
#pragma once

#include <exception>
#include <memory>
#include <mutex>

#include <nanobind/nanobind.h>

#include "warploom/request.h"

namespace warploom::python {

namespace nb = nanobind;

/// The callbacks of one run of a request: what is called, and what it raised, of which the library only keeps the text. The
/// library may keep a request's functions longer than the run, so they refer to this, and release() lets the objects go.
class RunCallbacks : public std::enable_shared_from_this<RunCallbacks> {
 public:
  ~RunCallbacks() { release(); }

  /// Has the method allowed(history) say before each draw which tokens may be drawn.
  TokenConstraint constraint(const nb::object& allowed);
  /// Has processor(history, logits) change the logits before each draw.
  LogitsProcessor logits_processor(const nb::object& processor);

  /// After the run, with or without the GIL.
  void release();
  /// Throws what a callback raised, once.
  void rethrow();

 private:
  template <typename Call>
  void guarded(const Call& call);

  nb::object allowed_, processor_;  // touched with the GIL alone
  std::mutex mutex_;                // of what follows
  std::exception_ptr raised_;
};

}  // namespace warploom::python
