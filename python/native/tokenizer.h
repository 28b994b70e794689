// Text to token ids and back.
#pragma once

#include <memory>
#include <string>

#include <nanobind/nanobind.h>

#include "warploom/tokenizer.h"

namespace warploom::python {

namespace nb = nanobind;

struct PyTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string path;  // of the file that it was loaded from; empty if there was none
};

void bind_tokenizer(nb::module_& m);

}  // namespace warploom::python
