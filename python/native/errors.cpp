#include "native/errors.h"

#include <array>
#include <initializer_list>
#include <new>
#include <string>

#include <nanobind/stl/string.h>

#include "warploom/error.h"

namespace warploom::python {

namespace {

// The classes live as long as the interpreter.
struct Classes {
  PyObject *error, *invalid_argument, *model_error, *out_of_memory, *backend_error, *engine_stopped, *queue_full;
};
Classes classes;

PyObject* make(nb::module_& m, const char* name, const char* doc, std::initializer_list<PyObject*> bases) {
  nb::list all;
  for (PyObject* base : bases) all.append(nb::handle(base));
  const std::string full = nb::cast<std::string>(m.attr("__name__")) + "." + name;
  PyObject* made = PyErr_NewExceptionWithDoc(full.c_str(), doc, nb::tuple(all).ptr(), nullptr);
  if (!made) throw nb::python_error();
  m.attr(name) = nb::handle(made);
  return made;
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const InvalidArgument& error) {
    PyErr_SetString(classes.invalid_argument, error.what());
  } catch (const ModelError& error) {
    PyErr_SetString(classes.model_error, error.what());
  } catch (const OutOfMemory& error) {
    PyErr_SetString(classes.out_of_memory, error.what());
  } catch (const BackendError& error) {
    PyErr_SetString(classes.backend_error, error.what());
  } catch (const EngineStopped& error) {
    PyErr_SetString(classes.engine_stopped, error.what());
  } catch (const QueueFull& error) {
    PyErr_SetString(classes.queue_full, error.what());
  } catch (const Error& error) {
    PyErr_SetString(classes.error, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(classes.out_of_memory, "host memory ran out");
  }
}

}  // namespace

void bind_errors(nb::module_& m) {
  classes.error = make(m, "Error", "Base of every exception that Warploom raises on purpose.", {PyExc_Exception});
  classes.invalid_argument =
      make(m, "InvalidArgument", "An argument is out of its documented range; the text names it, its value and the bound.",
           {classes.error, PyExc_ValueError});
  classes.model_error = make(m, "ModelError", "A model's file is missing, damaged or of an unsupported kind.",
                             {classes.error, PyExc_ValueError});
  classes.out_of_memory =
      make(m, "OutOfMemory", "Host or device memory ran out; the text says for what, as far as it is known.",
           {classes.error, PyExc_MemoryError});
  classes.backend_error =
      make(m, "BackendError", "The device failed or is not available.", {classes.error, PyExc_RuntimeError});
  classes.engine_stopped =
      make(m, "EngineStopped", "The engine takes no more requests.", {classes.error, PyExc_RuntimeError});
  classes.queue_full =
      make(m, "QueueFull", "As many requests wait as the engine may queue.", {classes.error, PyExc_RuntimeError});
  nb::register_exception_translator(translate);
}

void find_errors(nb::handle module) {
  const auto find = [&](const char* name) { return nb::object(module.attr(name)).release().ptr(); };
  classes = {find("Error"),        find("InvalidArgument"), find("ModelError"), find("OutOfMemory"),
             find("BackendError"), find("EngineStopped"),   find("QueueFull")};
  nb::register_exception_translator(translate);
}

}  // namespace warploom::python
