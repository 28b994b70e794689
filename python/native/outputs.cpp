// What comes back from a request.
#include "native/outputs.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "native/arrays.h"
#include "native/options.h"

namespace warploom::python {

namespace {

using TopLogprobs = std::vector<std::pair<TokenId, double>>;

TopLogprobs pairs(const std::vector<TokenLogprob>& list) {
  TopLogprobs all;
  for (const TokenLogprob& entry : list) all.emplace_back(entry.token, entry.logprob);
  return all;
}

nb::object reason(FinishReason reason) {
  return reason == FinishReason::running ? nb::none() : nb::object(nb::str(name(reason)));
}

constexpr const char* kReasons =
    "Why it ended: \"stop_token\", \"stop_string\", \"length\", \"context_full\", \"cancelled\", \"deadline\", "
    "\"invalid_logits\", "
    "\"error\" or \"shutdown\".";

void bind_completion(nb::module_& m) {
  nb::class_<Timings>(m, "Timings", "How long a completion took, in seconds.")
      .def_ro("queue_seconds", &Timings::queue_seconds,
              "From submission to the first step that computes a part of the prompt.")
      .def_ro("time_to_first_token", &Timings::time_to_first_token, "From submission to the first token.")
      .def_ro("decode_seconds", &Timings::decode_seconds, "From the first token to the last.");
  nb::class_<Completion>(m, "Completion", "One continuation of a prompt.")
      .def_ro("index", &Completion::index, "Which of the request's n.")
      .def_ro("subsequence", &Completion::subsequence,
              "Which random numbers it drew from; see RequestOptions.first_subsequence.")
      .def_ro("token_ids", &Completion::token_ids, "Its tokens; the one that ended it is included.")
      .def_prop_ro(
          "text", [](const Completion& c) { return to_str(c.text); }, nb::sig("def text(self) -> str"),
          "Without special tokens and, unless include_stop, without the stop string.")
      .def_prop_ro(
          "stop_string", [](const Completion& c) { return to_str(c.stop_string); }, nb::sig("def stop_string(self) -> str"),
          "The stop string that ended it; empty if none did.")
      .def_prop_ro(
          "logprobs", [](const Completion& c) { return to_numpy(std::vector<double>(c.logprobs), {c.logprobs.size()}); },
          nb::sig("def logprobs(self) -> numpy.typing.NDArray[numpy.float64]"),
          "float64 [tokens]: natural logarithms of the tokens' probabilities; empty unless asked for.")
      .def_prop_ro(
          "top_logprobs",
          [](const Completion& c) {
            std::vector<TopLogprobs> all;
            for (const auto& list : c.top_logprobs) all.push_back(pairs(list));
            return all;
          },
          "For each token the most probable ones in its place, with their log-probabilities; empty unless asked for.")
      .def_prop_ro(
          "finish_reason", [](const Completion& c) { return reason(c.finish_reason); },
          nb::sig("def finish_reason(self) -> str"), kReasons)
      .def_ro("timings", &Completion::timings, "How long it took.")
      .def("__repr__", [](const Completion& c) {
        return nb::str("Completion(text={!r}, finish_reason={!r})").format(to_str(c.text), name(c.finish_reason));
      });
}

void bind_event(nb::module_& m) {
  nb::class_<TokenEvent>(m, "TokenEvent", "One new token, or the end of a completion. The events' texts add up to its text.")
      .def_ro("request", &TokenEvent::request, "Which request of the call; of an Engine, its id.")
      .def_ro("index", &TokenEvent::index, "Which of its completions.")
      .def_prop_ro(
          "token", [](const TokenEvent& e) { return e.token < 0 ? nb::none() : nb::object(nb::int_(e.token)); },
          nb::sig("def token(self) -> int | None"), "None if the completion ends without a token.")
      .def_prop_ro(
          "text", [](const TokenEvent& e) { return to_str(e.text); }, nb::sig("def text(self) -> str"),
          "Text that can be shown now: what may begin a stop string is withheld.")
      .def_ro("logprob", &TokenEvent::logprob, "Natural logarithm of the token's probability; 0 unless asked for.")
      .def_prop_ro(
          "top_logprobs", [](const TokenEvent& e) { return pairs(e.top_logprobs); },
          "The most probable tokens in its place, with their log-probabilities; empty unless asked for.")
      .def_prop_ro(
          "finish_reason", [](const TokenEvent& e) { return reason(e.finish_reason); },
          nb::sig("def finish_reason(self) -> str | None"), "None while it runs, then why it ended.")
      .def_ro("last", &TokenEvent::last, "No event of this request follows.")
      .def("__repr__", [](const TokenEvent& e) {
        return nb::str("TokenEvent(token={}, text={!r}, finish_reason={!r})")
            .format(e.token < 0 ? nb::none() : nb::object(nb::int_(e.token)), to_str(e.text), reason(e.finish_reason));
      });
}

}  // namespace

void bind_outputs(nb::module_& m) {
  bind_completion(m);
  bind_event(m);
  nb::class_<RequestOutput>(m, "RequestOutput", "What a request came to.")
      .def_ro("prompt_token_ids", &RequestOutput::prompt_token_ids, "The prompt's tokens.")
      .def_prop_ro(
          "prompt_logprobs",
          [](const RequestOutput& o) {
            return to_numpy(std::vector<double>(o.prompt_logprobs), {o.prompt_logprobs.size()});
          },
          nb::sig("def prompt_logprobs(self) -> numpy.typing.NDArray[numpy.float64]"),
          "float64 [prompt tokens - 1]: entry i is of prompt token i + 1; empty unless asked for.")
      .def_ro("cached_tokens", &RequestOutput::cached_tokens, "Tokens of the prompt that were in the prefix cache.")
      .def_ro("completions", &RequestOutput::completions, nb::rv_policy::copy,
              "Its n completions, by index; with best_of, best first.")
      .def_prop_ro(
          "text", [](const RequestOutput& o) { return to_str(o.completions.empty() ? "" : o.completions[0].text); },
          nb::sig("def text(self) -> str"), "The first completion's text.")
      .def_prop_ro(
          "error", [](const RequestOutput& o) { return to_str(o.error); }, nb::sig("def error(self) -> str"),
          "What went wrong: why completions ended as \"error\" or \"invalid_logits\", or for want of KV cache. Empty "
          "otherwise.")
      .def("__repr__", [](const RequestOutput& o) {
        return nb::str("RequestOutput(text={!r}, completions={})")
            .format(to_str(o.completions.empty() ? "" : o.completions[0].text), o.completions.size());
      });
}

}  // namespace warploom::python
