// Python's values as the library's options.
#pragma once

#include <string>
#include <vector>

#include <nanobind/nanobind.h>

#include "warploom/engine_options.h"
#include "warploom/model.h"
#include "warploom/tokenizer.h"

namespace warploom::python {

namespace nb = nanobind;

/// The UTF-8 bytes of a str, or bytes as they are. Throws InvalidArgument on anything else, and on a lone surrogate.
std::string read_text(nb::handle value, const char* name);
/// Text that may not be UTF-8: bytes that are none become U+FFFD.
nb::str to_str(std::string_view text);
bool read_flag(nb::handle value, const char* name);
/// Dicts with "role" and "content".
std::vector<ChatMessage> read_messages(nb::handle messages);
DType read_kv_type(nb::handle value, const char* name);

/// From keyword arguments. Throws TypeError on a name that is none.
EngineOptions read_engine_options(const nb::dict& options);
[[noreturn]] void throw_unknown_option(nb::handle name, const char* lists_them);
std::string_view option_name(nb::handle key);

}  // namespace warploom::python
