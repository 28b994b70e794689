#include "native/generator.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include <nanobind/stl/vector.h>

#include "native/fork.h"
#include "native/model.h"
#include "native/options.h"
#include "native/outputs.h"
#include "native/request.h"
#include "native/signals.h"
#include "native/tokenizer.h"
#include "native/turns.h"
#include "warploom/engine.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::python {

namespace {

struct PyGenerator {
  Owned<Generator> generator;
  std::shared_ptr<Turns> turns = std::make_shared<Turns>();  // of its streams
};

void make(PyGenerator* self, const PyModel& model, const PyTokenizer* tokenizer, const nb::kwargs& options) {
  const EngineOptions read = read_engine_options(options);
  auto made = tokenizer ? std::make_shared<Generator>(model.model.get(), tokenizer->tokenizer, read)
                        : std::make_shared<Generator>(model.model.get(), read);
  new (self) PyGenerator{Owned<Generator>(std::move(made), "generator")};
}

/// Lets callbacks go, however a run ends.
struct Releases {
  const std::vector<std::shared_ptr<RunCallbacks>>& called;
  ~Releases() {
    for (const auto& callbacks : called) callbacks->release();
  }
};

std::vector<RequestOutput> run(const PyGenerator& self, const std::vector<const PyRequest*>& requests) {
  std::vector<Request> all;
  std::vector<std::shared_ptr<RunCallbacks>> called;
  for (const PyRequest* request : requests) {
    if (!request) throw InvalidArgument("requests holds None");
    ArmedRequest armed = request->arm();
    all.push_back(std::move(armed.request));
    called.push_back(std::move(armed.callbacks));
  }
  const std::shared_ptr<Generator> generator = self.generator.get();
  std::vector<RequestOutput> outputs;
  {
    const nb::gil_scoped_release release;
    SignalCheck check;
    Callbacks callbacks;
    callbacks.should_abort = [&check] {
      check();
      return false;
    };
    const Releases releases{called};
    outputs = generator->generate(all, callbacks);
  }
  for (const auto& callbacks : called) callbacks->rethrow();
  return outputs;
}

/// One request's events as they come. It runs on a thread of its own, after the streams that were asked for before, and is
/// cancelled when this is closed.
class EventStream {
 public:
  EventStream(std::shared_ptr<Generator> generator, std::shared_ptr<Turns> turns, ArmedRequest request)
      : shared_(std::make_shared<Shared>()), turns_(std::move(turns)), callbacks_(std::move(request.callbacks)) {
    const std::uint64_t turn = turns_->join();
    const auto work = [shared = shared_, turns = turns_, turn, callbacks = callbacks_, generator = std::move(generator),
                       asked = std::move(request.request)] {
      try {
        if (turns->await(turn, shared->cancelled)) run(*shared, *generator, asked);
      } catch (...) {
        shared->error = std::current_exception();
      }
      turns->leave(turn);
      callbacks->release();
      TokenEvent end;  // the sentinel, which is given to nobody
      end.request = kEnd;
      shared->queue.push(std::move(end));
    };
    try {
      thread_ = std::thread(work);
    } catch (...) {
      turns_->leave(turn);
      throw;
    }
  }

  /// The events that are there, or, if there are none, the next ones; empty at the end and after `timeout` seconds.
  std::vector<TokenEvent> take(double timeout) {
    const std::lock_guard lock(mutex_);
    std::vector<TokenEvent> events;
    if (!ended_) events = shared_->queue.await(Seconds(timeout));
    if (!events.empty() && events.back().request == kEnd) {
      events.pop_back();
      ended_ = true;
      if (thread_.joinable()) thread_.join();
    }
    if (ended_ && events.empty()) raise();
    return events;
  }
  /// Whether take() has given everything.
  bool ended() const { return ended_; }
  void cancel() { turns_->cancel(shared_->cancelled); }
  void close() {
    cancel();  // ends a take() that waits
    const std::lock_guard lock(mutex_);
    if (thread_.joinable()) thread_.join();
    ended_ = true;
  }
  const RequestOutput* output() const { return ended_ && shared_->output ? &*shared_->output : nullptr; }

 private:
  void raise() {
    if (shared_->error) std::rethrow_exception(std::exchange(shared_->error, nullptr));
    callbacks_->rethrow();
  }

  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};

  struct Shared {
    EventQueue queue;
    std::atomic<bool> cancelled = false;
    std::exception_ptr error;             // read after the thread's end
    std::optional<RequestOutput> output;  // the same
  };

  static void run(Shared& shared, Generator& generator, const Request& request) {
    Callbacks callbacks;
    callbacks.on_token = [&shared](const TokenEvent& event) {
      shared.queue.push(event);
      return !shared.cancelled;
    };
    callbacks.should_abort = [&shared] { return shared.cancelled.load(); };
    shared.output = generator.generate(request, callbacks);
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Turns> turns_;
  std::shared_ptr<RunCallbacks> callbacks_;
  std::mutex mutex_;  // of what follows
  std::thread thread_;
  std::atomic<bool> ended_ = false;
};

struct PyEventStream {
  Owned<EventStream> stream;
  ~PyEventStream() {
    if (!stream.is_here()) return;  // the thread is another process's
    const nb::gil_scoped_release release;
    stream->close();
  }
};

std::vector<TokenEvent> take(const PyEventStream& self, double timeout) {
  const std::shared_ptr<EventStream> stream = self.stream.get();
  const nb::gil_scoped_release release;
  return stream->take(timeout);
}

void bind_stream(nb::module_& m) {
  nb::class_<PyEventStream>(m, "EventStream", "One request's events as they come.", nb::is_weak_referenceable())
      .def("take", &take, nb::arg("timeout"),
           "The events that are there, or the next ones; empty at the end, and if there are none within `timeout` seconds. "
           "Raises at "
           "the end what ended the request. For one thread at a time.")
      .def_prop_ro(
          "ended", [](const PyEventStream& self) { return self.stream->ended(); }, "Whether everything was taken.")
      .def(
          "cancel", [](const PyEventStream& self) { self.stream->cancel(); }, "Ends the request before its next step.")
      .def(
          "close",
          [](const PyEventStream& self) {
            const std::shared_ptr<EventStream> stream = self.stream.get();
            const nb::gil_scoped_release release;
            stream->close();
          },
          "Ends the request, and waits until it has ended.")
      .def_prop_ro(
          "output",
          [](const PyEventStream& self) -> nb::object {
            const RequestOutput* output = self.stream->output();
            return output ? nb::cast(*output) : nb::none();
          },
          nb::sig("def output(self) -> RequestOutput | None"), "The whole output, after the end.");
}

}  // namespace

void bind_generator(nb::module_& m) {
  bind_stream(m);
  nb::class_<PyGenerator>(m, "Generator", "Runs requests on one KV cache; see warploom.Generator.")
      .def("__init__", &make, nb::arg("model"), nb::arg("tokenizer").none(), nb::arg("options"),
           nb::sig("def __init__(self, model: Model, tokenizer: Tokenizer | None, **options: typing.Any) -> None"))
      .def("run", &run, nb::arg("requests"),
           nb::sig("def run(self, requests: collections.abc.Sequence[Request]) -> list[RequestOutput]"),
           "Runs the requests as one batch; their outputs, in order.")
      .def(
          "stream",
          [](const PyGenerator& self, const PyRequest& request) {
            return new PyEventStream{Owned<EventStream>(
                std::make_shared<EventStream>(self.generator.get(), self.turns, request.arm()), "stream")};
          },
          nb::arg("request"), nb::rv_policy::take_ownership, "Runs one request on a thread of its own.")
      .def_prop_ro(
          "kv_cache_capacity", [](const PyGenerator& self) { return self.generator->kv_cache_capacity(); },
          nb::call_guard<nb::gil_scoped_release>(), "Of its KV cache, in tokens; 0 before the first call.")
      .def_prop_ro(
          "cached_tokens", [](const PyGenerator& self) { return self.generator->cached_tokens(); },
          nb::call_guard<nb::gil_scoped_release>(), "Tokens whose keys and values are kept for later prompts.")
      .def(
          "clear_cache", [](const PyGenerator& self) { self.generator->clear_cache(); },
          nb::call_guard<nb::gil_scoped_release>(), "Drops them.");
}

}  // namespace warploom::python
