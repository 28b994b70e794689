// Drawing from anyone's logits.
#pragma once

#include <nanobind/nanobind.h>

#include "native/arrays.h"
#include "native/draw_parameters.h"
#include "warploom/sample_args.h"
#include "warploom/sampling.h"

namespace warploom::python {

void bind_sampling(nb::module_& m);
void bind_building_blocks(nb::module_& m);

/// A draw from rows in host memory.
class SampleCall {
 public:
  SampleCall(nb::handle logits, const char* name)
      : rows_(read_rows(logits, name)), parameters_(rows_.rows, rows_.width, rows_.single) {}
  /// Reads the options. Throws TypeError on a name that is none, InvalidArgument on a value that fits no row.
  void read(const nb::dict& options);
  /// Draws. `args` has the outputs that are wanted beside token and status. Throws InvalidArgument on a parameter out of range.
  void run(SampleArgs& args);

  const Rows& rows() const { return rows_; }
  const DrawParameters& parameters() const { return parameters_; }
  const DrawOutputs& outputs() const { return outputs_; }
  const std::vector<TokenId>& tokens() const { return tokens_; }
  const std::vector<SampleStatus>& statuses() const { return statuses_; }

 private:
  Rows rows_;
  DrawParameters parameters_;
  DrawOutputs outputs_;
  std::vector<std::int64_t> row_index_;  // if all rows are the first
  std::vector<TokenId> tokens_;
  std::vector<SampleStatus> statuses_;
};

}  // namespace warploom::python
