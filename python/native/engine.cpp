#include "native/engine.h"

#include <algorithm>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "native/fork.h"
#include "native/model.h"
#include "native/options.h"
#include "native/request.h"
#include "native/tokenizer.h"
#include "warploom/engine.h"

namespace warploom::python {

namespace {

struct PyEngine {
  Owned<Engine> engine;
};

struct PyHandle {
  RequestHandle handle;
  std::shared_ptr<RunCallbacks> callbacks;
};

constexpr std::uint64_t kWake = ~std::uint64_t{0};  // the request of an event that only wakes who waits

void make(PyEngine* self, const PyModel& model, const PyTokenizer* tokenizer, const nb::kwargs& options) {
  const EngineOptions read = read_engine_options(options);
  const std::shared_ptr<const Model> loaded = model.model.get();
  std::shared_ptr<Engine> made;
  {
    const nb::gil_scoped_release release;
    made = std::make_shared<Engine>(loaded, tokenizer ? tokenizer->tokenizer : loaded->tokenizer(), read);
  }
  new (self) PyEngine{Owned<Engine>(std::move(made), "engine")};
}

PyHandle submit(const PyEngine& self, const PyRequest& request, const EventQueue& queue) {
  const std::shared_ptr<Engine> engine = self.engine.get();
  ArmedRequest armed = request.arm();
  const nb::gil_scoped_release release;
  return {engine->submit(std::move(armed.request), queue), std::move(armed.callbacks)};
}

std::vector<TokenEvent> await_events(EventQueue& queue, double timeout) {
  std::vector<TokenEvent> events = queue.await(Seconds(timeout));
  std::erase_if(events, [](const TokenEvent& event) { return event.request == kWake; });
  return events;
}

RequestOutput output_of(const PyHandle& self) {
  RequestOutput output;
  {
    const nb::gil_scoped_release release;
    output = self.handle.output();
  }
  self.callbacks->rethrow();
  return output;
}

nb::dict to_dict(const Histogram& histogram) {
  nb::dict dict;
  dict["bounds"] = histogram.bounds();
  dict["counts"] = histogram.counts();
  dict["count"] = histogram.count();
  dict["sum"] = histogram.sum();
  return dict;
}

nb::dict to_dict(const EngineStats& stats) {
  nb::dict dict, finished;
  for (int i = 1; i <= static_cast<int>(FinishReason::shutdown); ++i)
    finished[name(static_cast<FinishReason>(i))] = stats.finished_completions[i];
  dict["uptime"] = stats.uptime;
  dict["steps"] = stats.steps;
  dict["num_requests_waiting"] = stats.num_requests_waiting;
  dict["num_requests_running"] = stats.num_requests_running;
  dict["num_sequences_running"] = stats.num_sequences_running;
  dict["num_sequences_preempted"] = stats.num_sequences_preempted;
  dict["kv_cache_usage"] = stats.kv_cache_usage;
  dict["kv_cache_blocks"] = stats.kv_cache_blocks;
  dict["cached_blocks"] = stats.cached_blocks;
  dict["prompt_tokens"] = stats.prompt_tokens;
  dict["queried_prompt_tokens"] = stats.queried_prompt_tokens;
  dict["cached_prompt_tokens"] = stats.cached_prompt_tokens;
  dict["computed_tokens"] = stats.computed_tokens;
  dict["generated_tokens"] = stats.generated_tokens;
  dict["preemptions"] = stats.preemptions;
  dict["finished_completions"] = finished;
  dict["refused_requests"] = stats.refused_requests;
  dict["queue_time"] = to_dict(stats.queue_time);
  dict["time_to_first_token"] = to_dict(stats.time_to_first_token);
  dict["inter_token_latency"] = to_dict(stats.inter_token_latency);
  dict["request_latency"] = to_dict(stats.request_latency);
  dict["request_inference_time"] = to_dict(stats.request_inference_time);
  dict["request_prefill_time"] = to_dict(stats.request_prefill_time);
  dict["request_decode_time"] = to_dict(stats.request_decode_time);
  dict["request_time_per_output_token"] = to_dict(stats.request_time_per_output_token);
  dict["request_prompt_tokens"] = to_dict(stats.request_prompt_tokens);
  dict["request_generated_tokens"] = to_dict(stats.request_generated_tokens);
  dict["step_time"] = to_dict(stats.step_time);
  dict["step_tokens"] = to_dict(stats.step_tokens);
  return dict;
}

void bind_queue(nb::module_& m) {
  nb::class_<EventQueue>(m, "EventQueue", "Events of the requests that were submitted with it.")
      .def(nb::init<>())
      .def("wait", &await_events, nb::arg("timeout"), nb::call_guard<nb::gil_scoped_release>(),
           "What is there, or the next ones; empty after `timeout` seconds and after wake().")
      .def(
          "wake",
          [](EventQueue& queue) {
            TokenEvent event;
            event.request = kWake;
            queue.push(std::move(event));
          },
          "Ends a wait.");
  nb::class_<PyHandle>(m, "RequestHandle", "A request that was submitted.")
      .def_prop_ro(
          "id", [](const PyHandle& self) { return self.handle.id(); }, "The `request` of its events.")
      .def_prop_ro("finished", [](const PyHandle& self) { return self.handle.finished(); })
      .def(
          "cancel", [](const PyHandle& self) { self.handle.cancel(); }, nb::call_guard<nb::gil_scoped_release>(),
          "Ends it before the next step.")
      .def(
          "release", [](const PyHandle& self) { self.callbacks->release(); }, "Lets its callbacks go, after its last event.")
      .def("output", &output_of, "Waits for the end. Raises what a callback of the request raised.");
}

}  // namespace

void bind_engine(nb::module_& m) {
  bind_queue(m);
  nb::class_<PyEngine>(m, "Engine", "Runs requests by continuous batching; see warploom.Engine.")
      .def("__init__", &make, nb::arg("model"), nb::arg("tokenizer").none(), nb::arg("options"),
           nb::sig("def __init__(self, model: Model, tokenizer: Tokenizer | None, **options: typing.Any) -> None"))
      .def("submit", &submit, nb::arg("request"), nb::arg("queue"), "Queues a request.")
      .def(
          "cancel", [](const PyEngine& self, RequestId id) { self.engine->cancel(id); }, nb::arg("id"),
          nb::call_guard<nb::gil_scoped_release>(), "Ends a request before the next step.")
      .def(
          "drain",
          [](const PyEngine& self, std::optional<double> timeout) {
            return self.engine->drain(timeout ? Seconds(*timeout) : Seconds::max());
          },
          nb::arg("timeout").none() = nb::none(), nb::call_guard<nb::gil_scoped_release>(),
          "Refuses new requests and waits for the others; False if that took longer than `timeout` seconds.")
      .def(
          "shutdown", [](const PyEngine& self) { self.engine->shutdown(); }, nb::call_guard<nb::gil_scoped_release>(),
          "Refuses new requests and ends the others.")
      .def(
          "stats", [](const PyEngine& self) { return to_dict(self.engine->stats()); },
          nb::sig("def stats(self) -> dict[str, typing.Any]"), "What it has counted.")
      .def(
          "prometheus_text",
          [](const PyEngine& self, const std::string& model_name) {
            return prometheus_text(self.engine->stats(), model_name);
          },
          nb::arg("model_name"), "The same in Prometheus' text format.")
      .def(
          "clear_prefix_cache", [](const PyEngine& self) { self.engine->clear_prefix_cache(); }, "Before the next step.");
}

}  // namespace warploom::python
