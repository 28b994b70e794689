#include "native/request.h"

#include <string>
#include <string_view>
#include <unordered_map>

#include "native/arrays.h"
#include "native/options.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

bool is_batch(nb::handle prompt) {
  if (!PyList_Check(prompt.ptr()) && !PyTuple_Check(prompt.ptr())) return false;
  if (PySequence_Size(prompt.ptr()) == 0) return false;
  const nb::object first = prompt[0];
  return nb::isinstance<nb::str>(first) || nb::isinstance<nb::bytes>(first) || PyList_Check(first.ptr()) ||
         PyTuple_Check(first.ptr());
}

// Text, or dicts that are messages, or token ids.
Prompt read_prompt(nb::handle prompt) {
  if (nb::isinstance<nb::str>(prompt) || nb::isinstance<nb::bytes>(prompt)) return read_text(prompt, "prompt");
  if (PySequence_Check(prompt.ptr()) && PySequence_Size(prompt.ptr()) > 0 && PyDict_Check(nb::object(prompt[0]).ptr()))
    return read_messages(prompt);
  PyErr_Clear();
  if (is_batch(prompt)) throw InvalidArgument("prompt is a list of prompts; only one is taken here");
  return read_tokens(prompt, "prompt");
}

std::vector<std::string> read_stop(nb::handle stop) {
  if (nb::isinstance<nb::str>(stop) || nb::isinstance<nb::bytes>(stop)) return {read_text(stop, "stop")};
  std::vector<std::string> strings;
  if (!nb::isinstance<nb::sequence>(stop)) throw InvalidArgument("stop must be a str or a sequence of str");
  for (nb::handle text : nb::borrow(stop)) strings.push_back(read_text(text, "stop"));
  return strings;
}

std::vector<LogitBias> read_bias(nb::handle value) {
  if (!PyDict_Check(value.ptr())) throw InvalidArgument("logit_bias must be a dict of token ids and numbers");
  std::vector<LogitBias> biases;
  for (const auto& [token, bias] : nb::borrow<nb::dict>(value))
    biases.push_back(
        {read_number<TokenId>(token, "a token of logit_bias"), read_number<float>(bias, "a number of logit_bias")});
  return biases;
}

LogprobsMode read_mode(nb::handle value) {
  const std::string mode = read_text(value, "logprobs_mode");
  if (mode == "raw") return LogprobsMode::raw;
  if (mode == "processed") return LogprobsMode::processed;
  throw InvalidArgument("logprobs_mode is \"" + mode + "\"; it must be \"raw\" or \"processed\"");
}

[[noreturn]] void refuse_callback(const char* name, nb::handle value, const char* what) {
  throw InvalidArgument(std::string(name) + " is a " + nb::type_name(value.type()).c_str() + "; it must " + what);
}

using Set = void (*)(PyRequest&, nb::handle);

const std::unordered_map<std::string_view, Set>& sampling_setters() {
  static const std::unordered_map<std::string_view, Set> setters = {
      {"temperature",
       [](PyRequest& r, nb::handle v) { r.request.sampling.temperature = read_number<float>(v, "temperature"); }},
      {"top_k", [](PyRequest& r, nb::handle v) { r.request.sampling.top_k = read_number<std::int64_t>(v, "top_k"); }},
      {"top_p", [](PyRequest& r, nb::handle v) { r.request.sampling.top_p = read_number<float>(v, "top_p"); }},
      {"min_p", [](PyRequest& r, nb::handle v) { r.request.sampling.min_p = read_number<float>(v, "min_p"); }},
      {"repetition_penalty",
       [](PyRequest& r, nb::handle v) {
         r.request.sampling.repetition_penalty = read_number<float>(v, "repetition_penalty");
       }},
      {"frequency_penalty",
       [](PyRequest& r, nb::handle v) {
         r.request.sampling.frequency_penalty = read_number<float>(v, "frequency_penalty");
       }},
      {"presence_penalty",
       [](PyRequest& r, nb::handle v) { r.request.sampling.presence_penalty = read_number<float>(v, "presence_penalty"); }},
      {"seed", [](PyRequest& r, nb::handle v) { r.request.sampling.seed = read_number<std::uint64_t>(v, "seed"); }},
  };
  return setters;
}

const std::unordered_map<std::string_view, Set>& request_setters() {
  static const std::unordered_map<std::string_view, Set> setters = {
      {"max_tokens", [](PyRequest& r, nb::handle v) { r.request.max_tokens = read_number<std::int64_t>(v, "max_tokens"); }},
      {"min_tokens", [](PyRequest& r, nb::handle v) { r.request.min_tokens = read_number<std::int64_t>(v, "min_tokens"); }},
      {"first_subsequence",
       [](PyRequest& r, nb::handle v) { r.request.first_subsequence = read_number<std::uint32_t>(v, "first_subsequence"); }},
      {"penalize_prompt", [](PyRequest& r, nb::handle v) { r.request.penalize_prompt = read_flag(v, "penalize_prompt"); }},
      {"penalty_window",
       [](PyRequest& r, nb::handle v) { r.request.penalty_window = read_number<std::int64_t>(v, "penalty_window"); }},
      {"n", [](PyRequest& r, nb::handle v) { r.request.n = read_number<std::int32_t>(v, "n"); }},
      {"best_of", [](PyRequest& r, nb::handle v) { r.request.best_of = read_number<std::int32_t>(v, "best_of"); }},
      {"stop", [](PyRequest& r, nb::handle v) { r.request.stop = read_stop(v); }},
      {"include_stop", [](PyRequest& r, nb::handle v) { r.request.include_stop = read_flag(v, "include_stop"); }},
      {"stop_token_ids", [](PyRequest& r, nb::handle v) { r.request.stop_token_ids = read_tokens(v, "stop_token_ids"); }},
      {"ignore_eos", [](PyRequest& r, nb::handle v) { r.request.ignore_eos = read_flag(v, "ignore_eos"); }},
      {"logit_bias", [](PyRequest& r, nb::handle v) { r.request.logit_bias = read_bias(v); }},
      {"allowed_token_ids",
       [](PyRequest& r, nb::handle v) {
         r.request.allowed_token_ids = read_tokens(v, "allowed_token_ids");
         if (r.request.allowed_token_ids.empty())
           throw InvalidArgument("allowed_token_ids is empty: no token could be drawn; None allows all");
       }},
      {"banned_token_ids",
       [](PyRequest& r, nb::handle v) { r.request.banned_token_ids = read_tokens(v, "banned_token_ids"); }},
      {"constraint",
       [](PyRequest& r, nb::handle v) {
         if (!nb::hasattr(v, "allowed")) refuse_callback("constraint", v, "have a method allowed(history)");
         r.allowed = v.attr("allowed");
       }},
      {"logits_processor",
       [](PyRequest& r, nb::handle v) {
         if (!PyCallable_Check(v.ptr())) refuse_callback("logits_processor", v, "be callable");
         r.logits_processor = nb::borrow(v);
       }},
      {"logprobs", [](PyRequest& r, nb::handle v) { r.request.logprobs = read_flag(v, "logprobs"); }},
      {"top_logprobs",
       [](PyRequest& r, nb::handle v) { r.request.top_logprobs = read_number<std::int32_t>(v, "top_logprobs"); }},
      {"logprobs_mode", [](PyRequest& r, nb::handle v) { r.request.logprobs_mode = read_mode(v); }},
      {"prompt_logprobs", [](PyRequest& r, nb::handle v) { r.request.prompt_logprobs = read_flag(v, "prompt_logprobs"); }},
      {"echo", [](PyRequest& r, nb::handle v) { r.request.echo = read_flag(v, "echo"); }},
      {"priority", [](PyRequest& r, nb::handle v) { r.request.priority = read_number<std::int32_t>(v, "priority"); }},
      {"deadline", [](PyRequest& r, nb::handle v) { r.request.deadline = read_number<double>(v, "deadline"); }},
  };
  return setters;
}

void make_request(PyRequest* self, nb::handle prompt, const nb::kwargs& options) {
  PyRequest made;
  made.request.max_tokens = 100;
  made.request.prompt = read_prompt(prompt);
  for (const auto& [key, value] : options) {
    Set set = nullptr;
    for (const auto* setters : {&sampling_setters(), &request_setters()})
      if (const auto found = setters->find(option_name(key)); found != setters->end()) set = found->second;
    if (!set) throw_unknown_option(key, "RequestOptions");
    if (!value.is_none()) set(made, value);
  }
  new (self) PyRequest(std::move(made));
}

// A callback may refer to what refers to the request.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  const auto* request = nb::inst_ptr<PyRequest>(self);
  Py_VISIT(request->allowed.ptr());
  Py_VISIT(request->logits_processor.ptr());
  return 0;
}

int clear(PyObject* self) {
  auto* request = nb::inst_ptr<PyRequest>(self);
  request->allowed.reset();
  request->logits_processor.reset();
  return 0;
}

PyType_Slot slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)}, {Py_tp_clear, reinterpret_cast<void*>(clear)}, {0, nullptr}};

}  // namespace

ArmedRequest PyRequest::arm() const {
  ArmedRequest armed{request, std::make_shared<RunCallbacks>()};
  if (allowed.is_valid()) armed.request.constraint = armed.callbacks->constraint(allowed);
  if (logits_processor.is_valid()) armed.request.logits_processor = armed.callbacks->logits_processor(logits_processor);
  return armed;
}

void bind_request(nb::module_& m) {
  nb::class_<PyRequest>(
      m, "Request",
      "A prompt and what is asked for: the keyword arguments are those of RequestOptions, which says what they mean. "
      "A value that has the wrong type raises InvalidArgument here; one that the model cannot honour, when it is "
      "submitted.",
      nb::type_slots(slots))
      .def("__init__", &make_request, nb::arg("prompt").none(), nb::arg("options"),
           nb::sig("def __init__(self, prompt: object, **options: typing.Any) -> None"));
}

}  // namespace warploom::python
