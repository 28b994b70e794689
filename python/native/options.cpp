#include "native/options.h"

#include <unordered_map>

#include "native/arrays.h"
#include "warploom/error.h"

namespace warploom::python {

std::string read_text(nb::handle value, const char* name) {
  Py_ssize_t length = 0;
  if (nb::isinstance<nb::str>(value)) {
    const char* text = PyUnicode_AsUTF8AndSize(value.ptr(), &length);
    if (text) return {text, static_cast<std::size_t>(length)};
    PyErr_Clear();
    throw InvalidArgument(std::string(name) + " holds a lone surrogate, which UTF-8 cannot express");
  }
  if (nb::isinstance<nb::bytes>(value)) {
    const auto bytes = nb::borrow<nb::bytes>(value);
    return {bytes.c_str(), bytes.size()};
  }
  throw InvalidArgument(std::string(name) + " is a " + nb::type_name(value.type()).c_str() + "; it must be str or bytes");
}

nb::str to_str(std::string_view text) {
  PyObject* made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (!made) throw nb::python_error();
  return nb::steal<nb::str>(made);
}

bool read_flag(nb::handle value, const char* name) {
  const int truth = PyObject_IsTrue(value.ptr());
  if (truth >= 0) return truth == 1;
  PyErr_Clear();
  throw InvalidArgument(std::string(name) + " must be True or False");
}

std::vector<ChatMessage> read_messages(nb::handle messages) {
  std::vector<ChatMessage> read;
  for (nb::handle message : nb::borrow(messages)) {
    nb::dict fields;
    if (!nb::try_cast(message, fields) || !fields.contains("role") || !fields.contains("content"))
      throw InvalidArgument("message " + std::to_string(read.size()) + " is no dict with \"role\" and \"content\"");
    read.push_back({read_text(fields["role"], "a message's role"), read_text(fields["content"], "a message's content")});
  }
  return read;
}

DType read_kv_type(nb::handle value, const char* name) {
  const std::string text = read_text(value, name);
  if (text == "f32") return DType::f32;
  if (text == "f16") return DType::f16;
  if (text == "bf16") return DType::bf16;
  if (text == "int8") return DType::int8;
  throw InvalidArgument(std::string(name) + " is \"" + text + "\"; it must be \"f32\", \"f16\", \"bf16\" or \"int8\"");
}

std::string_view option_name(nb::handle key) {
  Py_ssize_t length = 0;
  const char* text = PyUnicode_AsUTF8AndSize(key.ptr(), &length);
  if (!text) throw nb::python_error();
  return {text, static_cast<std::size_t>(length)};
}

void throw_unknown_option(nb::handle name, const char* lists_them) {
  throw nb::type_error((std::string(lists_them) + " has no option \"" + std::string(option_name(name)) + "\"").c_str());
}

EngineOptions read_engine_options(const nb::dict& options) {
  using Set = void (*)(EngineOptions&, nb::handle);
  static const std::unordered_map<std::string_view, Set> setters = {
      {"kv_cache_tokens",
       [](EngineOptions& o, nb::handle v) { o.kv_cache_tokens = read_number<std::int64_t>(v, "kv_cache_tokens"); }},
      {"kv_cache_share",
       [](EngineOptions& o, nb::handle v) { o.kv_cache_share = read_number<double>(v, "kv_cache_share"); }},
      {"block_size", [](EngineOptions& o, nb::handle v) { o.block_size = read_number<std::int64_t>(v, "block_size"); }},
      {"kv_type", [](EngineOptions& o, nb::handle v) { o.kv_type = read_kv_type(v, "kv_type"); }},
      {"round_attention", [](EngineOptions& o, nb::handle v) { o.round_attention = read_flag(v, "round_attention"); }},
      {"max_num_seqs",
       [](EngineOptions& o, nb::handle v) { o.max_num_seqs = read_number<std::int64_t>(v, "max_num_seqs"); }},
      {"max_num_batched_tokens",
       [](EngineOptions& o, nb::handle v) {
         o.max_num_batched_tokens = read_number<std::int64_t>(v, "max_num_batched_tokens");
       }},
      {"enable_prefix_caching",
       [](EngineOptions& o, nb::handle v) { o.enable_prefix_caching = read_flag(v, "enable_prefix_caching"); }},
      {"use_kv_cache", [](EngineOptions& o, nb::handle v) { o.use_kv_cache = read_flag(v, "use_kv_cache"); }},
      {"priority_window",
       [](EngineOptions& o, nb::handle v) { o.priority_window = read_number<std::int64_t>(v, "priority_window"); }},
      {"max_queued_requests",
       [](EngineOptions& o, nb::handle v) { o.max_queued_requests = read_number<std::int64_t>(v, "max_queued_requests"); }},
  };
  EngineOptions read;
  for (const auto& [key, value] : options) {
    const auto setter = setters.find(option_name(key));
    if (setter == setters.end()) throw_unknown_option(key, "EngineOptions");
    if (!value.is_none()) setter->second(read, value);
  }
  return read;
}

}  // namespace warploom::python
