// Each block is the fused path with some of its inputs and outputs.
#include "warploom/cuda/building_blocks.h"

#include <algorithm>

#include "cuda/toolkit/sampling/sample_args.h"

namespace warploom::cuda {

namespace {

SampleArgs reading(const InputRows& rows, SampleInput input = SampleInput::logits) {
  SampleArgs a;
  a.logits = rows.data;
  a.input = input;
  a.type = rows.type;
  a.rows = rows.rows;
  a.vocab_size = rows.vocab_size;
  a.row_stride = rows.stride;
  a.row_index = rows.index;
  return a;
}

SampleArgs filtering(SampleArgs a, const Filters& filters, SampleStatus* status) {
  a.top_k = filters.top_k;
  a.top_p = filters.top_p;
  a.min_p = filters.min_p;
  a.status = status;
  return a;
}

SampleArgs drawing(SampleArgs a, const RngState& rng, TokenId* token) {
  a.seed = rng.seed;
  a.position = rng.position;
  a.subsequence = rng.subsequence;
  a.token = token;
  return a;
}

void checked_run(SampleArgs a, const void* output, const char* name, Workspace workspace, cudaStream_t stream) {
  check_rows(a);
  check_lists(a);
  check_output(a, output, name);
  a.workspace = workspace;
  run(a, stream);
}

}  // namespace

std::size_t block_workspace_bytes(const InputRows& rows) {
  SampleArgs a = reading(rows);
  check_rows(a);
  float dense = 0;  // never written: it asks for room
  a.probabilities = &dense;
  a.dense_stride = a.vocab_size;
  SampleArgs probabilities = a;
  if (rows.type == DType::f32) probabilities.input = SampleInput::probabilities;
  SampleArgs list = reading(rows);
  list.default_temperature = 0.0f;
  list.top = kMaxTop;
  return std::max(
      {workspace_bytes_of(a), workspace_bytes_of(probabilities), workspace_bytes_of(list), weighted_workspace_bytes(a)});
}

void softmax(const InputRows& logits, const float* temperature, const Filters& filters, const OutputRows& probabilities,
             SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  SampleArgs a = filtering(reading(logits), filters, status);
  a.temperature = temperature;
  a.probabilities = probabilities.data;
  a.dense_stride = probabilities.stride;
  checked_run(a, probabilities.data, "probabilities", workspace, stream);
}

void mask(const InputRows& logits, const float* temperature, const Filters& filters, const OutputRows& masked,
          SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  SampleArgs a = filtering(reading(logits), filters, status);
  a.temperature = temperature;
  a.filtered_logits = masked.data;
  a.dense_stride = masked.stride;
  checked_run(a, masked.data, "masked", workspace, stream);
}

void kept_mask(const InputRows& logits, const float* temperature, const Filters& filters, const MaskRows& mask,
               SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  SampleArgs a = filtering(reading(logits), filters, status);
  a.temperature = temperature;
  check_rows(a);
  check_output(a, mask.data, "mask");
  check_mask_stride(a, mask.stride);
  a.workspace = workspace;
  run_kept_mask(a, mask, stream);
}

void renormalize(const InputRows& probabilities, const Filters& filters, const OutputRows& renormalized,
                 SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  SampleArgs a = filtering(reading(probabilities, SampleInput::probabilities), filters, status);
  a.probabilities = renormalized.data;
  a.dense_stride = renormalized.stride;
  checked_run(a, renormalized.data, "renormalized", workspace, stream);
}

void argmax(const InputRows& logits, TokenId* token, SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  SampleArgs a = reading(logits);
  a.default_temperature = 0.0f;
  a.token = token;
  a.status = status;
  checked_run(a, token, "token", workspace, stream);
}

void top_k(const InputRows& logits, int k, TokenId* ids, float* values, SampleStatus* status, Workspace workspace,
           cudaStream_t stream) {
  SampleArgs a = reading(logits);
  a.default_temperature = 0.0f;
  a.status = status;
  a.top = k;
  a.top_token = ids;
  a.top_logit = values;
  check_top_k(k);
  checked_run(a, values, "values", workspace, stream);
}

void multinomial(const InputRows& probabilities, const Filters& filters, const RngState& rng, TokenId* token,
                 SampleStatus* status, Workspace workspace, cudaStream_t stream) {
  const SampleArgs a = drawing(filtering(reading(probabilities, SampleInput::probabilities), filters, status), rng, token);
  checked_run(a, token, "token", workspace, stream);
}

void multinomial(const WeightRows& weights, const RngState& rng, TokenId* token, SampleStatus* status, Workspace workspace,
                 cudaStream_t stream) {
  SampleArgs a = drawing({}, rng, token);
  a.logits = weights.data;
  a.rows = weights.rows;
  a.vocab_size = weights.vocab_size;
  a.row_stride = weights.stride;
  a.status = status;
  check_rows(a);
  check_output(a, token, "token");
  a.workspace = workspace;
  run_weighted(a, stream);
}

}  // namespace warploom::cuda
