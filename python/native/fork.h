// A forked child has none of its parent's threads, so whatever runs on them cannot be used, or even destroyed, there.
#pragma once

#include <memory>
#include <utility>

#include <nanobind/nanobind.h>

namespace warploom::python {

namespace nb = nanobind;

/// Has forks counted from now on, in the child.
void count_forks();
/// How many forks lie between this process and the one that loaded the module.
int forks();

/// Something with threads. In a child of the process that made it, a use throws, and its end is left out.
template <typename T>
class Owned {
 public:
  Owned(std::shared_ptr<T> value, const char* name) : value_(std::move(value)), name_(name), forks_(forks()) {}
  Owned(Owned&& other) noexcept = default;
  Owned& operator=(Owned&&) = delete;
  ~Owned() { release(); }

  const std::shared_ptr<T>& get() const;
  T* operator->() const { return get().get(); }
  bool is_here() const { return forks_ == forks(); }
  /// Lets go of it, without the GIL: it may wait for threads that want it.
  void release() {
    if (!value_) return;
    if (is_here()) {
      const nb::gil_scoped_release release_gil;
      value_.reset();
    } else {
      static_cast<void>(new std::shared_ptr<T>(std::move(value_)));
    }
  }

 private:
  std::shared_ptr<T> value_;
  const char* name_;
  int forks_;
};

[[noreturn]] void throw_after_fork(const char* name);
[[noreturn]] void throw_closed(const char* name);

template <typename T>
const std::shared_ptr<T>& Owned<T>::get() const {
  if (!is_here()) throw_after_fork(name_);
  if (!value_) throw_closed(name_);
  return value_;
}

}  // namespace warploom::python
