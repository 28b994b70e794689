// Drawing from anyone's logits.
#pragma once

#include <nanobind/nanobind.h>

#include "native/arrays.h"
#include "warploom/sample_args.h"
#include "warploom/sampling.h"

namespace warploom::python {

void bind_sampling(nb::module_& m);
void bind_building_blocks(nb::module_& m);

/// What a call says about how to draw, as keyword arguments, and where the results go.
class SampleCall {
 public:
  SampleCall(nb::handle logits, const char* name) : rows_(read_rows(logits, name)) {}
  /// Reads the options. Throws TypeError on a name that is none, InvalidArgument on a value that fits no row.
  void read(const nb::dict& options);
  /// Draws. `args` has the outputs that are wanted beside token and status. Throws InvalidArgument on a parameter out of range.
  void run(SampleArgs& args);

  const Rows& rows() const { return rows_; }
  const std::vector<TokenId>& tokens() const { return tokens_; }
  const std::vector<SampleStatus>& statuses() const { return statuses_; }
  bool has_filters() const { return top_k_.data || top_p_.data || min_p_.data; }
  bool greedy(std::int64_t row) const { return temperature_.data && temperature_.data[row] == 0.0f; }
  float temperature(std::int64_t row) const { return temperature_.data ? temperature_.data[row] : 1.0f; }

  // Where the caller wants results; null: nowhere.
  std::int32_t* out_token = nullptr;
  std::int32_t* out_argmax = nullptr;
  std::uint8_t* out_status = nullptr;
  double *out_logprob = nullptr, *out_filtered_logprob = nullptr;
  std::int64_t* out_num_kept = nullptr;
  std::uint64_t* out_total_weight = nullptr;
  nb::object out;  // the array that is to be returned

 private:
  friend struct SampleOption;
  void read_history(nb::handle value);
  void read_bias(nb::handle value);
  void read_biases_of_row(nb::handle value);
  [[noreturn]] void refuse_row(std::int64_t row) const;

  Rows rows_;
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
  std::vector<TokenId> tokens_;
  std::vector<SampleStatus> statuses_;
};

}  // namespace warploom::python
