#include "measure.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "core/divide.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

// The same in every run.
std::vector<Request> random_requests(const Model& model, std::int64_t length, std::int64_t batch, const Request& like) {
  const std::vector<TokenId> tokens = ordinary_tokens(model);
  std::mt19937 rng(1);
  std::vector<Request> requests(static_cast<std::size_t>(batch), like);
  for (Request& request : requests) {
    std::vector<TokenId> prompt(static_cast<std::size_t>(length));
    for (TokenId& id : prompt) id = tokens[rng() % tokens.size()];
    request.prompt = std::move(prompt);
  }
  return requests;
}

}  // namespace

BatchRunner::BatchRunner(std::shared_ptr<const Model> model, const EngineOptions& engine)
    : model_(std::move(model)), options_(engine) {
  options_.enable_prefix_caching = false;
  options_.kv_cache_tokens = options_.max_num_seqs = 0;
}

void BatchRunner::make_room(std::span<const Request> requests) {
  const std::int64_t context = model_->shape().context_length;
  std::int64_t tokens = 0;
  for (const Request& request : requests) {
    const auto prompt = static_cast<std::int64_t>(std::get<std::vector<TokenId>>(request.prompt).size());
    const std::int64_t longest = std::min(context, prompt + std::min(context, request.max_tokens));
    tokens += (ceil_div(longest, options_.block_size) + 1) * options_.block_size;
  }
  const auto sequences = static_cast<std::int64_t>(requests.size());
  if (generator_ && tokens <= options_.kv_cache_tokens && sequences <= options_.max_num_seqs) return;
  options_.kv_cache_tokens = std::max(options_.kv_cache_tokens, tokens);
  options_.max_num_seqs = std::max(options_.max_num_seqs, sequences);
  generator_.reset();  // its memory goes before the next one's is taken
  generator_.emplace(model_, options_);
}

BatchTimes BatchRunner::run(std::span<const Request> requests, std::vector<RequestOutput>* outputs) {
  using Clock = std::chrono::steady_clock;
  make_room(requests);
  BatchTimes times;
  std::vector<bool> started(requests.size());
  std::size_t num_started = 0;
  std::int64_t step = 0, step_of_last_start = 0;
  Clock::time_point last_start, end;
  Callbacks callbacks;
  callbacks.should_abort = [&step] {  // asked before each step
    ++step;
    return false;
  };
  callbacks.on_token = [&](const TokenEvent& event) {
    if (event.token < 0) return true;
    end = Clock::now();
    if (!started[event.request]) {
      started[event.request] = true;
      if (++num_started == requests.size()) step_of_last_start = step, last_start = end;
    } else if (num_started == requests.size() && step > step_of_last_start) {
      ++times.rest_tokens;
    }
    return true;
  };
  std::vector<RequestOutput> all = generator_->generate(requests, callbacks);
  for (const RequestOutput& output : all) {
    if (!output.error.empty()) throw BackendError(output.error);
    times.first_seconds = std::max(times.first_seconds, output.completions.front().timings.time_to_first_token);
  }
  times.rest_seconds = std::chrono::duration<double>(end - last_start).count();
  if (outputs) *outputs = std::move(all);
  return times;
}

std::vector<TokenId> ordinary_tokens(const Model& model) {
  std::vector<TokenId> tokens;
  for (TokenId id = 0; id < model.shape().vocab_size; ++id)
    if (!model.tokenizer()->is_special(id)) tokens.push_back(id);
  if (tokens.empty()) throw ModelError("every token of the vocabulary is special: there is nothing to make prompts of");
  return tokens;
}

double Measurement::median() const {
  std::vector<double> sorted = runs;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}
double Measurement::min() const { return *std::min_element(runs.begin(), runs.end()); }
double Measurement::max() const { return *std::max_element(runs.begin(), runs.end()); }

Measurement measure_prompt(const std::shared_ptr<const Model>& model, std::int64_t length, std::int64_t batch,
                           const EngineOptions& engine, int repeats) {
  Measurement m{fmt::format("prompt {}, batch {}", length, batch), "tokens/s", length, 0, batch, {}};
  Request request;
  request.max_tokens = 1;
  request.ignore_eos = true;
  request.sampling.temperature = 0.0f;
  const std::vector<Request> requests = random_requests(*model, length, batch, request);
  BatchRunner runner(model, engine);
  for (int r = -1; r < repeats; ++r) {  // the first run warms up
    const double seconds = runner.run(requests).first_seconds;
    if (r >= 0) m.runs.push_back(static_cast<double>(length * batch) / seconds);
  }
  return m;
}

Measurement measure_generation(const std::shared_ptr<const Model>& model, std::int64_t prompt, std::int64_t length,
                               std::int64_t batch, const SamplingParams& sampling, const EngineOptions& engine, int threads,
                               int repeats) {
  const bool kv_cache = engine.use_kv_cache;
  Measurement m{fmt::format("generate {} after {}, batch {}{}", length, prompt, batch, kv_cache ? "" : ", no KV cache"),
                "tokens/s",
                prompt,
                length,
                batch,
                {}};
  Request request;
  request.max_tokens = length;
  request.ignore_eos = true;
  request.sampling = sampling;
  const std::vector<Request> requests = random_requests(*model, prompt, batch, request);
  BatchRunner runner(model, engine);
  for (int r = kv_cache ? -1 : 0; r < repeats; ++r) {
    const BatchTimes times = runner.run(requests);
    if (r >= 0) m.runs.push_back(static_cast<double>(times.rest_tokens) / times.rest_seconds);
  }
  const std::int64_t vocab_size = model->shape().vocab_size;
  const Measurement alone = measure_sampler({"", sampling}, normal_logits(batch, vocab_size), batch, vocab_size,
                                            static_cast<int>(std::min<std::int64_t>(threads, batch)), 3);
  m.sampling_share = alone.median() * 1e-6 * m.median();
  return m;
}

std::vector<SamplerCase> sampler_cases() {
  return {{"greedy", {.temperature = 0.0f}},
          {"temperature", {.temperature = 0.8f}},
          {"top-k 50", {.temperature = 1.0f, .top_k = 50}},
          {"top-p 0.9", {.temperature = 1.0f, .top_p = 0.9f}},
          {"top-k 50 + top-p 0.9", {.temperature = 1.0f, .top_k = 50, .top_p = 0.9f}},
          {"min-p 0.05", {.temperature = 1.0f, .min_p = 0.05f}}};
}

SamplingParams strategy_params(const std::string& name) {
  for (const SamplerCase& c : sampler_cases())
    if (c.name == name) return c.params;
  throw InvalidArgument(fmt::format("--strategy: \"{}\" is not one of {}", name, strategy_names()));
}

std::string strategy_names() {
  std::string names;
  for (const SamplerCase& c : sampler_cases()) names += (names.empty() ? "" : ", ") + c.name;
  return names;
}

std::vector<float> normal_logits(std::int64_t rows, std::int64_t vocab_size) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(static_cast<std::size_t>(rows * vocab_size));
  for (float& x : logits) x = normal(rng);
  return logits;
}

std::vector<float> read_logits(const std::string& path, std::int64_t rows, std::int64_t vocab_size) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::int64_t bytes = file ? static_cast<std::int64_t>(file.tellg()) : -1;
  if (bytes < 0) throw InvalidArgument(fmt::format("--logits: {} cannot be read", path));
  const std::int64_t call = rows * vocab_size * 4;
  if (bytes == 0 || bytes % call != 0)
    throw InvalidArgument(fmt::format("--logits: {} has {} bytes, which are no whole calls of {} {} of {} f32 logits", path,
                                      bytes, rows, rows == 1 ? "row" : "rows", vocab_size));
  std::vector<float> logits(static_cast<std::size_t>(bytes / 4));
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(logits.data()), bytes))
    throw InvalidArgument(fmt::format("--logits: {} cannot be read", path));
  return logits;
}

Measurement measure_sampler(const SamplerCase& strategy, std::span<const float> logits, std::int64_t rows,
                            std::int64_t vocab_size, int threads, int repeats) {
  Measurement m{fmt::format("sample {}, {} {} of {}", strategy.name, rows, rows == 1 ? "row" : "rows", vocab_size),
                "us/row",
                0,
                0,
                rows,
                {}};
  std::vector<SamplingInput> wants(static_cast<std::size_t>(rows));
  for (SamplingInput& row : wants) row.params = strategy.params;
  // Some 64 rows a run, each of `logits` as often as the others.
  const std::int64_t groups = static_cast<std::int64_t>(logits.size()) / (rows * vocab_size);
  const std::int64_t calls = groups * std::max<std::int64_t>(1, 64 / (rows * groups));
  std::int64_t num_kept = 0;
  for (int r = -1; r < repeats; ++r) {
    num_kept = 0;
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t c = 0; c < calls; ++c) {
      for (SamplingInput& row : wants) ++row.position;
      const LogitsView view{logits.data() + c % groups * rows * vocab_size, DType::f32, rows, vocab_size, vocab_size};
      for (const SampleResult& result : sample(view, wants, {}, threads)) num_kept += result.num_kept;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (r >= 0) m.runs.push_back(seconds * 1e6 / static_cast<double>(calls * rows));
  }
  m.num_kept = static_cast<double>(num_kept) / static_cast<double>(calls * rows);
  return m;
}

}  // namespace warploom::bench
