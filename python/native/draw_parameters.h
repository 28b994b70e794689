// What decides a draw besides the logits, and where its results go, as keyword arguments say it.
#pragma once

#include <string_view>
#include <vector>

#include "native/arrays.h"
#include "warploom/sample_args.h"

namespace warploom::python {

/// Calls visit(name, member) for the parameters in SampleArgs that are arrays [rows], until one returns true.
template <typename Visit>
bool any_column(const Visit& visit) {
  using A = SampleArgs;
  return visit("temperature", &A::temperature) || visit("top_k", &A::top_k) || visit("top_p", &A::top_p) ||
         visit("min_p", &A::min_p) || visit("seed", &A::seed) || visit("position", &A::position) ||
         visit("subsequence", &A::subsequence) || visit("repetition_penalty", &A::repetition_penalty) ||
         visit("frequency_penalty", &A::frequency_penalty) || visit("presence_penalty", &A::presence_penalty) ||
         visit("count_begin", &A::count_begin);
}

/// Parameters in host memory.
class DrawParameters {
 public:
  DrawParameters(std::int64_t rows, std::int64_t vocab_size, bool single)
      : rows_(rows), vocab_size_(vocab_size), single_(single) {}
  /// Reads the option of that name; false if it is none of these. Throws InvalidArgument on a value that fits no row.
  bool read(std::string_view name, nb::handle value);
  /// Points `args` to what was given.
  void give(SampleArgs& args) const;
  /// Throws InvalidArgument naming what of row `r` is out of range, if anything is.
  void check_row(std::int64_t r) const;
  /// Each row has a history of `length` tokens, in memory that give() does not know.
  void history_is_elsewhere(std::int64_t length);

  int threads() const { return threads_; }
  /// The parameters of row `r`, without its seed.
  SamplingParams params(std::int64_t r) const;
  std::int64_t history_size() const { return static_cast<std::int64_t>(history_.size()); }
  std::int64_t bias_size() const { return static_cast<std::int64_t>(bias_.size()); }

 private:
  void read_threads(nb::handle value);
  void read_history(nb::handle value);
  void read_bias(nb::handle value);
  void read_biases_of_row(nb::handle value);

  std::int64_t rows_, vocab_size_;
  bool single_;
  int threads_ = 1;
  Column<float> temperature_, top_p_, min_p_, repetition_penalty_, frequency_penalty_, presence_penalty_;
  Column<std::int32_t> top_k_;
  Column<std::uint64_t> seed_, position_;
  Column<std::int64_t> count_begin_;
  Column<std::uint32_t> subsequence_;
  std::vector<TokenId> history_;
  std::vector<LogitBias> bias_;
  std::vector<std::int64_t> history_offsets_, bias_offsets_;
  Mask allowed_;
};

/// The caller's arrays [rows] for results; null if none is wanted.
struct DrawOutputs {
  std::int32_t *token = nullptr, *argmax = nullptr;
  std::uint8_t* status = nullptr;
  double *logprob = nullptr, *filtered_logprob = nullptr;
  std::int64_t* num_kept = nullptr;
  std::uint64_t* total_weight = nullptr;
  nb::object tokens;  // the array of `token`, which is what the call returns

  /// Reads the option of that name; false if it is none of these. import(value, name, pointer) sets a pointer to an array's
  /// memory.
  template <typename Import>
  bool read(std::string_view name, nb::handle value, const Import& import) {
    const auto is = [&](const char* own, auto*& pointer) {
      if (name != own) return false;
      if (!value.is_none()) import(value, own, pointer);
      return true;
    };
    if (name == "out" && !value.is_none()) tokens = nb::borrow(value);
    return is("out", token) || is("out_status", status) || is("out_argmax", argmax) || is("out_logprob", logprob) ||
           is("out_filtered_logprob", filtered_logprob) || is("out_num_kept", num_kept) ||
           is("out_total_weight", total_weight);
  }
  /// Points `args` to those that it does not have yet, but for token and status.
  void give(SampleArgs& args) const;
};

/// Throws TypeError: no option of sampling has this name.
[[noreturn]] void throw_no_sample_option(std::string_view name);

}  // namespace warploom::python
