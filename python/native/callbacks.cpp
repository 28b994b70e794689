#include "native/callbacks.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "native/arrays.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

/// A reference that may be dropped on any thread.
using Held = std::shared_ptr<nb::object>;

Held hold(const nb::object& object) {
  return {new nb::object(object), [](nb::object* held) {
            if (!nb::is_alive()) return;  // the interpreter has ended, and its objects with it
            const nb::gil_scoped_acquire gil;
            delete held;
          }};
}

nb::object copy_of(std::span<const TokenId> tokens) {
  return to_numpy(std::vector<TokenId>(tokens.begin(), tokens.end()), {tokens.size()});
}

// Runs `call` with the GIL. What it raises is kept, and ends the completion.
template <typename Call>
void guarded(CallbackFailure& failure, const Call& call) {
  if (!nb::is_alive()) throw std::runtime_error("the interpreter has ended");
  const nb::gil_scoped_acquire gil;
  try {
    call();
  } catch (const std::exception& error) {
    failure.keep(std::current_exception());
    throw std::runtime_error(error.what());
  }
}

}  // namespace

TokenConstraint constraint_of(const nb::object& object, std::shared_ptr<CallbackFailure> failure) {
  if (!nb::hasattr(object, "allowed"))
    throw InvalidArgument(std::string("constraint is a ") + nb::type_name(object.type()).c_str() +
                          "; it must have a method allowed(history)");
  return [method = hold(object.attr("allowed")), failure = std::move(failure)](const CompletionContext& context,
                                                                               TokenEdit& edit) {
    guarded(*failure, [&] {
      const nb::object allowed = (*method)(copy_of(context.output));
      if (allowed.is_none()) return;  // every token
      Mask mask;
      mask.read(allowed, "what allowed() returned", 1, edit.vocab_size());
      const std::span<std::uint32_t> words = edit.allowed();
      for (std::size_t i = 0; i < words.size(); ++i) words[i] &= mask.data[i];
    });
  };
}

LogitsProcessor logits_processor_of(const nb::object& processor, std::shared_ptr<CallbackFailure> failure) {
  if (!PyCallable_Check(processor.ptr()))
    throw InvalidArgument(std::string("logits_processor is a ") + nb::type_name(processor.type()).c_str() +
                          "; it must be callable");
  return [call = hold(processor), failure = std::move(failure)](const CompletionContext& context, std::span<float> logits) {
    guarded(*failure, [&] {
      // A copy, which may outlive the call.
      nb::object row = to_numpy(std::vector<float>(logits.begin(), logits.end()), {logits.size()});
      const nb::object returned = (*call)(copy_of(context.output), row);
      const Rows changed = read_rows(returned.is_none() ? row : returned, "what the logits processor returned");
      if (!changed.single || changed.type != DType::f32 || changed.width != static_cast<std::int64_t>(logits.size()))
        throw InvalidArgument("what the logits processor returned must be float32 (" + std::to_string(logits.size()) + ",)");
      std::copy_n(static_cast<const float*>(changed.data), logits.size(), logits.begin());
    });
  };
}

}  // namespace warploom::python
