// Ctrl-C while the library works: Python's handlers run between its steps.
#pragma once

#include <chrono>

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

/// Asks at most every 50 ms, so that the GIL is left to others. Throws what a handler raises, KeyboardInterrupt for instance.
class SignalCheck {
 public:
  void operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(50);
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }

 private:
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
};

}  // namespace warploom::python
