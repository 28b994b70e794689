// Timed runs of generation and of sampling alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "warploom/generator.h"

namespace warploom::bench {

/// Those that are not special: what random prompts consist of.
std::vector<TokenId> ordinary_tokens(const Model& model);

/// What a batch took.
struct BatchTimes {
  double first_seconds = 0;      // until the last of the requests had its first token
  double rest_seconds = 0;       // from then on until the last token of all
  std::int64_t rest_tokens = 0;  // drawn in that time
};
/// Runs requests as a program does that goes on: memory stays from run to run, and is taken anew if a run needs more. Every prompt is
/// computed in whole.
class BatchRunner {
 public:
  /// engine: the size of its KV cache and how many sequences it runs are set here.
  BatchRunner(std::shared_ptr<const Model> model, const EngineOptions& engine);

  /// Runs the requests, which have prompts of tokens and one completion each, all at once. Throws BackendError if one of them fails.
  BatchTimes run(std::span<const Request> requests, std::vector<RequestOutput>* outputs = nullptr);

 private:
  void make_room(std::span<const Request> requests);

  std::shared_ptr<const Model> model_;
  EngineOptions options_;
  std::optional<Generator> generator_;
};

/// One line of the report: rates of the repeated runs.
struct Measurement {
  std::string test;  // e.g. "generate 128, batch 8"
  std::string unit;  // e.g. "tokens/s"
  std::int64_t prompt = 0, length = 0,
               batch = 0;  // tokens of a prompt, tokens generated, sequences or rows; 0: does not apply
  std::vector<double> runs;
  double sampling_share = -1;  // of a generation's time; below 0 if not measured
  double num_kept = -1;        // tokens a row that passed the filters, on average; below 0 if not measured

  double median() const;
  double min() const;
  double max() const;
};

/// Prompt tokens a second: `batch` prompts of `length` tokens each, the first token's sampling included. engine: as BatchRunner
/// takes it.
Measurement measure_prompt(const std::shared_ptr<const Model>& model, std::int64_t length, std::int64_t batch,
                           const EngineOptions& engine, int repeats);

/// Generated tokens a second over the whole batch after a prompt of `prompt` tokens, sampling included. Its share is what
/// sample() takes for as many rows on normal(0, 3) logits, over the time of a step.
Measurement measure_generation(const std::shared_ptr<const Model>& model, std::int64_t prompt, std::int64_t length,
                               std::int64_t batch, const SamplingParams& sampling, const EngineOptions& engine, int threads,
                               int repeats);

struct SamplerCase {
  std::string name;
  SamplingParams params;
};
std::vector<SamplerCase> sampler_cases();
/// Those of the case with this name. Throws InvalidArgument if there is none.
SamplingParams strategy_params(const std::string& name);
std::string strategy_names();

/// normal(0, 3) logits, the same in every run: [rows, vocab_size].
std::vector<float> normal_logits(std::int64_t rows, std::int64_t vocab_size);

/// Raw f32 rows of `vocab_size` logits from a file. Throws InvalidArgument if it cannot be read, or does not hold whole calls
/// of `rows` rows.
std::vector<float> read_logits(const std::string& path, std::int64_t rows, std::int64_t vocab_size);

/// Microseconds a row of sample(), called with `rows` rows at a time, which go round in `logits`: [a multiple of rows,
/// vocab_size].
Measurement measure_sampler(const SamplerCase& strategy, std::span<const float> logits, std::int64_t rows,
                            std::int64_t vocab_size, int threads, int repeats);

}  // namespace warploom::bench
