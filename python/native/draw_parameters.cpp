#include "native/draw_parameters.h"

#include <string>

#include "warploom/device.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

template <typename T>
const T* data_or_null(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

/// Calls visit(element) for each element of `value`, of which there must be one for each row.
template <typename Visit>
void for_each_row(nb::handle value, const char* name, std::int64_t rows, const Visit& visit) {
  if (!nb::isinstance<nb::iterable>(value))
    throw InvalidArgument(std::string(name) + " is a " + nb::type_name(value.type()).c_str() +
                          "; it must have one entry for each of the " + std::to_string(rows) + " rows of logits");
  std::int64_t count = 0;
  for (nb::handle row : nb::borrow(value)) {
    visit(row);
    ++count;
  }
  if (count != rows)
    throw InvalidArgument(std::string(name) + " has " + std::to_string(count) + " entries for " + std::to_string(rows) +
                          " rows of logits; it must have one for each");
}

}  // namespace

bool DrawParameters::read(std::string_view name, nb::handle value) {
  const auto is = [&](const char* own, auto& column) {
    if (name != own) return false;
    column.read(value, own, rows_);
    return true;
  };
  if (is("temperature", temperature_) || is("top_k", top_k_) || is("top_p", top_p_) || is("min_p", min_p_) ||
      is("seed", seed_) || is("position", position_) || is("subsequence", subsequence_) ||
      is("repetition_penalty", repetition_penalty_) || is("frequency_penalty", frequency_penalty_) ||
      is("presence_penalty", presence_penalty_) || is("count_begin", count_begin_))
    return true;
  if (name == "history") {
    read_history(value);
  } else if (name == "bias") {
    read_bias(value);
  } else if (name == "allowed") {
    allowed_.read(value, "allowed", rows_, vocab_size_);
  } else if (name == "threads") {
    read_threads(value);
  } else {
    return false;
  }
  return true;
}

void DrawParameters::read_threads(nb::handle value) {
  Column<std::int32_t> threads;
  threads.read(value, "threads", 1);
  if (threads.data && threads.data[0] < 0)
    throw InvalidArgument("threads is " + std::to_string(threads.data[0]) + "; it must be at least 0");
  if (threads.data) threads_ = threads.data[0] == 0 ? available_cpus() : threads.data[0];
}

void DrawParameters::read_history(nb::handle value) {
  if (value.is_none()) return;
  history_offsets_ = {0};
  const auto add = [this](nb::handle row) {
    for (const TokenId token : read_tokens(row, single_ ? "history" : "a row's history")) history_.push_back(token);
    history_offsets_.push_back(static_cast<std::int64_t>(history_.size()));
  };
  if (single_) return add(value);
  for_each_row(value, "history", rows_, add);
}

void DrawParameters::history_is_elsewhere(std::int64_t length) {
  history_offsets_.clear();
  for (std::int64_t r = 0; r <= rows_; ++r) history_offsets_.push_back(r * length);
}

void DrawParameters::read_biases_of_row(nb::handle value) {
  nb::dict biases;
  if (!nb::try_cast(value, biases))
    throw InvalidArgument("bias must be a dict of token ids and numbers, or one for each row");
  for (const auto& [token, bias] : biases) {
    Column<std::int32_t> id;
    Column<float> number;
    id.read(token, "a token of bias", 1);
    number.read(bias, "a number of bias", 1);
    if (!id.data || !number.data) throw InvalidArgument("bias holds None");
    bias_.push_back({id.data[0], number.data[0]});
  }
  bias_offsets_.push_back(static_cast<std::int64_t>(bias_.size()));
}

void DrawParameters::read_bias(nb::handle value) {
  if (value.is_none()) return;
  bias_offsets_ = {0};
  if (PyDict_Check(value.ptr())) {
    for (std::int64_t r = 0; r < rows_; ++r) read_biases_of_row(value);
    return;
  }
  for_each_row(value, "bias", rows_, [this](nb::handle row) { read_biases_of_row(row); });
}

void DrawParameters::give(SampleArgs& args) const {
  args.temperature = temperature_.data;
  args.top_k = top_k_.data;
  args.top_p = top_p_.data;
  args.min_p = min_p_.data;
  args.seed = seed_.data;
  args.position = position_.data;
  args.subsequence = subsequence_.data;
  args.repetition_penalty = repetition_penalty_.data;
  args.frequency_penalty = frequency_penalty_.data;
  args.presence_penalty = presence_penalty_.data;
  args.count_begin = count_begin_.data;
  args.history = data_or_null(history_);
  args.history_offsets = data_or_null(history_offsets_);
  args.bias = data_or_null(bias_);
  args.bias_offsets = data_or_null(bias_offsets_);
  args.allowed = allowed_.data;
  args.allowed_stride = allowed_.stride;
}

SamplingParams DrawParameters::params(std::int64_t r) const {
  SamplingParams params;
  if (temperature_.data) params.temperature = temperature_.data[r];
  if (top_k_.data) params.top_k = top_k_.data[r];
  if (top_p_.data) params.top_p = top_p_.data[r];
  if (min_p_.data) params.min_p = min_p_.data[r];
  if (repetition_penalty_.data) params.repetition_penalty = repetition_penalty_.data[r];
  if (frequency_penalty_.data) params.frequency_penalty = frequency_penalty_.data[r];
  if (presence_penalty_.data) params.presence_penalty = presence_penalty_.data[r];
  return params;
}

void DrawParameters::check_row(std::int64_t r) const {
  const auto row = static_cast<std::size_t>(r);
  const auto where = [&] { return single_ ? std::string() : "row " + std::to_string(r) + ": "; };
  try {
    validate(params(r));
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(where() + error.what());
  }
  const std::int64_t begin = history_offsets_.empty() ? 0 : history_offsets_[row];
  const std::int64_t length = history_offsets_.empty() ? 0 : history_offsets_[row + 1] - begin;
  if (count_begin_.data && (count_begin_.data[r] < 0 || count_begin_.data[r] > length))
    throw InvalidArgument(where() + "count_begin is " + std::to_string(count_begin_.data[r]) + "; it must be in [0, " +
                          std::to_string(length) + "], the length of history");
  const auto known = [this](TokenId token) { return token >= 0 && token < vocab_size_; };
  bool all_known = true;
  for (std::int64_t i = begin; i < begin + length && !history_.empty(); ++i)
    all_known &= known(history_[static_cast<std::size_t>(i)]);
  for (std::int64_t i = bias_offsets_.empty() ? 0 : bias_offsets_[row]; !bias_offsets_.empty() && i < bias_offsets_[row + 1];
       ++i)
    all_known &= known(bias_[static_cast<std::size_t>(i)].token);
  if (!all_known)
    throw InvalidArgument(where() + "a token of history or bias is not in [0, " + std::to_string(vocab_size_) + ")");
}

void DrawOutputs::give(SampleArgs& args) const {
  if (!args.argmax) args.argmax = argmax;
  if (!args.logprob) args.logprob = logprob;
  if (!args.filtered_logprob) args.filtered_logprob = filtered_logprob;
  if (!args.num_kept) args.num_kept = num_kept;
  if (!args.total_weight) args.total_weight = total_weight;
}

void throw_no_sample_option(std::string_view name) {
  throw nb::type_error(("sampling has no option \"" + std::string(name) + "\"; SampleOptions lists them").c_str());
}

}  // namespace warploom::python
