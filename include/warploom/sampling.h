// Drawing tokens from logits: one row, one set of parameters, one seed and one position give exactly one token, on every
// device and in every batch. docs/sampling.md fixes the arithmetic bit by bit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "warploom/device.h"
#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

/// What a user chooses about sampling. The filters run in the order top-k, top-p, min-p.
struct SamplingParams {
  float temperature = 1.0f;         ///< >= 0; 0 is greedy
  std::int64_t top_k = 0;           ///< >= 0; 0: off
  float top_p = 1.0f;               ///< > 0; >= 1: off
  float min_p = 0.0f;               ///< in [0, 1]; 0: off
  float repetition_penalty = 1.0f;  ///< > 0; 1: off
  float frequency_penalty = 0.0f;   ///< finite; 0: off
  float presence_penalty = 0.0f;    ///< finite; 0: off
  /// The same seed and prompt always draw the same tokens. The library never picks one: for variety, give each request its own.
  std::uint64_t seed = 0;
};

/// Throws InvalidArgument naming the first field out of range (NaN is out of every range).
WARPLOOM_EXPORT void validate(const SamplingParams& params);

/// The seed from which a request's tokens are drawn, so that different prompts under one seed do not share random numbers. The
/// library uses it for each Request; use it if you draw with a model of your own: request_seed(7, std::vector<TokenId>{1, 2,
/// 3}) is 15589334644414055952. docs/sampling.md section 5 has the arithmetic.
[[nodiscard]] WARPLOOM_EXPORT std::uint64_t request_seed(std::uint64_t seed, std::span<const TokenId> prompt);

struct LogitBias {
  TokenId token = 0;
  float bias = 0.0f;  ///< added to the logit; -inf removes the token; NaN and +inf make the row invalid
};

/// Everything besides the logits that decides a row's token. The spans are views: the caller keeps what they point to until the
/// call returns.
struct SamplingInput {
  SamplingParams params;
  std::uint64_t position = 0;        ///< tokens the sequence has generated before this one
  std::uint32_t subsequence = 0;     ///< tells apart several continuations of one request
  std::span<const TokenId> history;  ///< the tokens that are penalised; each in [0, vocab_size)
  /// Index into `history`, in [0, history.size()]: the frequency and presence penalties count the tokens from here on, and the
  /// repetition penalty all.
  std::int64_t count_begin = 0;
  std::span<const LogitBias> bias;  ///< each token in [0, vocab_size)
  /// Bit t % 32 of word t / 32 says whether token t may be drawn; at least vocab_size / 32 words, rounded up. Empty: all may.
  std::span<const std::uint32_t> allowed;
};

/// `rows` rows of `vocab_size` logits; row r starts `row_stride` elements after row r - 1. A view: the caller owns the data.
struct LogitsView {
  const void* data = nullptr;
  DType type = DType::f32;
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;  ///< in [1, 2^22]
  std::int64_t row_stride = 0;  ///< >= vocab_size
};

enum class SampleStatus : std::uint8_t {
  ok,
  invalid_logits,  ///< the row holds NaN or +inf, before or after penalties, bias and mask
  all_masked,      ///< every logit is -inf
  invalid_parameters,  ///< only of SampleArgs, whose arrays nobody checks beforehand: a parameter, a history or a bias is out of range
};

struct TokenLogprob {
  TokenId token = -1;
  double logprob = 0.0;  ///< natural logarithm
};

/// Extra results. Asking for any of them never changes a token.
struct SampleOutputs {
  bool logprob = false;           ///< of the token, at temperature 1 before the filters
  bool filtered_logprob = false;  ///< of the token, after temperature and filters
  int top_logprobs = 0;           ///< how many of the most probable tokens to list, at temperature 1 before the filters
  bool kept = false;              ///< the ids of the kept tokens
};

struct SampleResult {
  SampleStatus status = SampleStatus::ok;
  TokenId token = -1;              ///< -1 unless status is ok
  TokenId argmax = -1;             ///< the first candidate in the order (logit descending, id ascending)
  std::int64_t num_kept = 0;       ///< tokens that passed every filter
  std::uint64_t total_weight = 0;  ///< their weights' sum, in units of 2^-40 of the argmax's
  double logprob = 0.0;
  double filtered_logprob = 0.0;
  std::vector<TokenLogprob> top;  ///< descending, ties by ascending id
  std::vector<TokenId> kept;      ///< ascending
};

struct SampleArgs;

/// Draws tokens on the CPU, one a row. Keeps its threads and its scratch memory (some 24 bytes a token of the vocabulary and
/// thread) from call to call: for whoever draws again and again. One call at a time; different Samplers may run at once.
class WARPLOOM_EXPORT Sampler final {
 public:
  /// threads: in [1, 1024], the caller's included; rows are spread over them. isa: CpuIsa::automatic is the best there is;
  /// results are the same on all. Throws InvalidArgument if this machine lacks it.
  explicit Sampler(int threads = 1, CpuIsa isa = CpuIsa::automatic);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  /// One result a row. Throws InvalidArgument if a view, a parameter, a history, a bias or a mask is out of range; a row with bad
  /// logits only gets its status, and its neighbours are untouched.
  [[nodiscard]] std::vector<SampleResult> sample(const LogitsView& logits, std::span<const SamplingInput> rows,
                                                 const SampleOutputs& outputs = {});

  /// The same from arrays to arrays in host memory (warploom/sample_args.h). Throws InvalidArgument for a shape that is out of
  /// range, a required array that is null, and what is CUDA only. A row whose parameters, history or bias are out of range gets
  /// the status invalid_parameters.
  void sample(const SampleArgs& args);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Sampler(threads).sample(logits, rows, outputs): starts and ends its threads, so keep a Sampler to draw often.
[[nodiscard]] WARPLOOM_EXPORT std::vector<SampleResult> sample(const LogitsView& logits, std::span<const SamplingInput> rows,
                                                               const SampleOutputs& outputs = {}, int threads = 1);

}  // namespace warploom
