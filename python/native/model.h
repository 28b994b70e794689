// A model on a device, and what is computed from it without drawing.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <nanobind/nanobind.h>

#include "native/fork.h"
#include "warploom/model.h"

namespace warploom::python {

struct PyModel {
  explicit PyModel(std::shared_ptr<const Model> loaded, std::string from = {})
      : model(std::move(loaded), "model"), path(std::move(from)) {}
  Owned<const Model> model;
  std::string path;  // of its file; empty if it has none
};

/// str or os.PathLike.
std::filesystem::path read_path(nb::handle path);

void bind_model(nb::module_& m);

}  // namespace warploom::python
