#include "native/callbacks.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "native/arrays.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

nb::object copy_of(std::span<const TokenId> tokens) {
  return to_numpy(std::vector<TokenId>(tokens.begin(), tokens.end()), {tokens.size()});
}

}  // namespace

// Runs `call` with the GIL. What it raises is kept, and ends the completion.
template <typename Call>
void RunCallbacks::guarded(const Call& call) {
  if (!nb::is_alive()) throw std::runtime_error("the interpreter has ended");
  const nb::gil_scoped_acquire gil;
  try {
    call();
  } catch (const std::exception& error) {
    {
      const std::lock_guard lock(mutex_);
      if (!raised_) raised_ = std::current_exception();
    }
    throw std::runtime_error(error.what());
  }
}

TokenConstraint RunCallbacks::constraint(const nb::object& allowed) {
  allowed_ = allowed;
  return [self = shared_from_this()](const CompletionContext& context, TokenEdit& edit) {
    self->guarded([&] {
      const nb::object bits = self->allowed_(copy_of(context.output));
      if (bits.is_none()) return;  // every token
      Mask mask;
      mask.read(bits, "what allowed() returned", 1, edit.vocab_size());
      const std::span<std::uint32_t> words = edit.allowed();
      for (std::size_t i = 0; i < words.size(); ++i) words[i] &= mask.data[i];
    });
  };
}

LogitsProcessor RunCallbacks::logits_processor(const nb::object& processor) {
  processor_ = processor;
  return [self = shared_from_this()](const CompletionContext& context, std::span<float> logits) {
    self->guarded([&] {
      // A copy, which may outlive the call.
      const nb::object row = to_numpy(std::vector<float>(logits.begin(), logits.end()), {logits.size()});
      const nb::object returned = self->processor_(copy_of(context.output), row);
      const Rows changed = read_rows(returned.is_none() ? row : returned, "what the logits processor returned");
      if (!changed.single || changed.type != DType::f32 || changed.width != static_cast<std::int64_t>(logits.size()))
        throw InvalidArgument("what the logits processor returned must be float32 (" + std::to_string(logits.size()) + ",)");
      std::copy_n(static_cast<const float*>(changed.data), logits.size(), logits.begin());
    });
  };
}

void RunCallbacks::release() {
  if (!allowed_.is_valid() && !processor_.is_valid()) return;
  if (!nb::is_alive()) {  // the interpreter has ended, and its objects with it
    static_cast<void>(allowed_.release());
    static_cast<void>(processor_.release());
    return;
  }
  const nb::gil_scoped_acquire gil;
  allowed_.reset();
  processor_.reset();
}

void RunCallbacks::rethrow() {
  std::exception_ptr raised;
  {
    const std::lock_guard lock(mutex_);
    raised = std::exchange(raised_, nullptr);
  }
  if (raised) std::rethrow_exception(raised);
}

}  // namespace warploom::python
