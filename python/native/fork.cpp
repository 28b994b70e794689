#include "native/fork.h"

#include <string>

#include <pthread.h>

#include "warploom/error.h"

namespace warploom::python {

namespace {

int count = 0;  // changed only in a child, while it has one thread

}  // namespace

void count_forks() {
  pthread_atfork(nullptr, nullptr, [] {
    ++count;
    nb::set_leak_warnings(false);  // the parent's threads held some objects
  });
}

int forks() { return count; }

void throw_after_fork(const char* name) {
  throw BackendError(
      std::string("this ") + name +
      " was made before a fork, and its threads are not in this process: load the model after the fork, or start "
      "processes with multiprocessing's \"spawn\"");
}

void throw_closed(const char* name) { throw InvalidArgument(std::string("this ") + name + " is closed"); }

}  // namespace warploom::python
