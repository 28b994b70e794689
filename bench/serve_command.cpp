#include "serve_command.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "cli/checks.h"
#include "cli/model_options.h"
#include "emulator.h"
#include "format.h"
#include "measure.h"
#include "modelled_gpus.h"
#include "modelled_serve.h"
#include "serve.h"
#include "serving_report.h"
#include "trace_file.h"
#include "warploom/error.h"
#include "workload.h"

namespace warploom::bench {

namespace {

struct Options {
  cli::ModelChoice model;
  cli::KvChoice kv;
  EngineOptions engine;
  bool no_prefix_caching = false;
  std::vector<double> rates;  // empty: 1, or as the trace recorded
  bool sweep = false;
  std::int64_t requests = 100, warm_up = 0;
  std::string arrivals = "poisson", prompt = "256", output = "64", trace;
  std::int64_t prefix_tokens = 0, trace_block = 512;
  double prefix_share = 1;
  double ttft_limit_ms = 1000, itl_limit_ms = 100;
  std::string strategy = "greedy", format = "table", modelled_gpu;
};

void check(const Options& o) {
  check_format(o.format);
  for (const double rate : o.rates)
    if (!(rate > 0 && (rate <= 1e6 || std::isinf(rate))))
      throw InvalidArgument(fmt::format("--rate: {} is neither in (0, 1e6] nor inf", rate));
  if (o.sweep && !o.rates.empty() && (o.rates.size() > 1 || std::isinf(o.rates[0])))
    throw InvalidArgument("--sweep starts from one finite --rate");
  if (!(o.prefix_share >= 0 && o.prefix_share <= 1))
    throw InvalidArgument(fmt::format("--prefix-share: {} is not in [0, 1]", o.prefix_share));
  for (const auto& [name, limit] : {std::pair("--ttft-limit", o.ttft_limit_ms), {"--itl-limit", o.itl_limit_ms}})
    if (!(limit > 0)) throw InvalidArgument(fmt::format("{}: {} is not above 0", name, limit));
  if (o.arrivals != "poisson" && o.arrivals != "constant")
    throw InvalidArgument(fmt::format("--arrivals: \"{}\" is not one of poisson, constant", o.arrivals));
}

/// Arrivals at their natural rate: one a second, or as they were recorded.
std::vector<Arrival> arrivals_of(const Options& o, ServingReport& report) {
  const auto note = [&](const char* name, const auto& value) {
    report.workload.emplace_back(name, fmt::format("{}", value));
  };
  if (!o.trace.empty()) {
    Trace trace = read_trace(o.trace, o.trace_block, o.requests);
    note("trace", o.trace);
    if (trace.failed > 0) note("failed in the recording", trace.failed);
    return std::move(trace.arrivals);
  }
  WorkloadOptions workload;
  workload.requests = o.requests;
  workload.poisson = o.arrivals == "poisson";
  workload.prompt = parse_lengths("--prompt-tokens", o.prompt);
  workload.output = parse_lengths("--output-tokens", o.output);
  workload.prefix_tokens = o.prefix_tokens;
  workload.prefix_share = o.prefix_share;
  workload.seed = o.model.seed;
  note("arrivals", o.arrivals);
  note("prompt tokens", o.prompt);
  note("output tokens", o.output);
  if (o.prefix_tokens > 0) note("prefix tokens", o.prefix_tokens), note("prefix share", o.prefix_share);
  return make_workload(workload);
}

void drop_too_long(std::vector<Arrival>& arrivals, std::int64_t context, ServingReport& report) {
  const std::size_t dropped = std::erase_if(
      arrivals, [&](const Arrival& arrival) { return arrival.prompt_tokens() + arrival.output_tokens > context; });
  if (arrivals.empty()) throw InvalidArgument(fmt::format("no request fits the model's context of {} tokens", context));
  for (const double start = arrivals.front().seconds; Arrival & arrival : arrivals) arrival.seconds -= start;
  if (dropped > 0) report.workload.emplace_back("left out, longer than the context", fmt::format("{}", dropped));
}

/// Runs at one rate after the other and says on standard error how far it is.
class Runner {
 public:
  Runner(const Options& options, std::shared_ptr<const Model> model, std::vector<Arrival> arrivals)
      : o_(options),
        model_(std::move(model)),
        arrivals_(std::move(arrivals)),
        work_(model_->device().kind == DeviceKind::cuda ? emulated_work(o_.modelled_gpu) : std::nullopt),
        natural_rate_(o_.trace.empty() ? static_cast<double>(arrivals_.size()) / static_cast<double>(o_.requests)
                                       : mean_rate(arrivals_)) {
    serve_.engine = o_.engine;
    cli::set_kv_options(o_.kv, serve_.engine);
    serve_.engine.enable_prefix_caching = !o_.no_prefix_caching;
    serve_.sampling = strategy_params(o_.strategy);
    serve_.limits = {o_.ttft_limit_ms / 1000, o_.itl_limit_ms / 1000};
    serve_.seed = o_.model.seed;
    serve_.warm_up = o_.warm_up;
    if (work_ && serve_.engine.kv_cache_tokens == 0)
      serve_.engine.kv_cache_tokens = useful_cache_tokens(arrivals_, model_->shape(), serve_.engine);
    if (work_ && o_.warm_up > 0) throw InvalidArgument("--warm-up: times on the emulator are modelled and need none");
  }

  /// Requests a second as they were drawn, on average over all draws, or recorded.
  double natural_rate() const { return natural_rate_; }
  const ServeOptions& serve_options() const { return serve_; }
  bool is_modelled() const { return work_.has_value(); }

  ServingResult run(double rate) const {
    if (std::isinf(natural_rate_) && !std::isinf(rate))
      throw InvalidArgument(
          fmt::format("the requests of {} come at once: no rate can space them; give --rate inf", o_.trace));
    std::vector<Arrival> arrivals = arrivals_;
    if (rate != natural_rate_) speed_up(arrivals, rate / natural_rate_);
    const bool terminal = isatty(STDERR_FILENO);
    std::function<void(const ServeProgress&)> progress;
    if (!o_.model.quiet && terminal)
      progress = [&](const ServeProgress& p) {
        if (p.warming_up) return fmt::print(stderr, "\r\x1b[Krate {:.3g}: warming up, {:.0f} s", rate, p.seconds);
        fmt::print(stderr, "\r\x1b[Krate {:.3g}: {:.0f} s of {:.0f}, {} of {} arrived, {} finished", rate, p.seconds,
                   arrivals.back().seconds, p.submitted, arrivals.size(), p.finished);
      };
    ServingResult result = work_ ? serve_modelled(model_, arrivals, rate, serve_, *work_, progress)
                                 : serve(model_, arrivals, rate, serve_, progress);
    if (!o_.model.quiet)
      fmt::print(stderr, "{}rate {:.3g}: TTFT p50 {:.1f} ms, ITL p50 {:.1f} ms, {:.1f} tokens/s, {:.0f}% good\n",
                 terminal ? "\r\x1b[K" : "", rate, 1000 * result.ttft.p50, 1000 * result.itl.p50,
                 result.output_tokens_per_second(), 100 * result.good_share());
    return result;
  }

 private:
  const Options& o_;
  const std::shared_ptr<const Model> model_;
  const std::vector<Arrival> arrivals_;
  const std::optional<std::function<DeviceWork()>> work_;  // of the emulator of CUDA
  const double natural_rate_;
  ServeOptions serve_;
};

void run(Options& o) {
  check(o);
  ServingReport report;
  std::vector<Arrival> arrivals = arrivals_of(o, report);
  (void)strategy_params(o.strategy);
  if (parse_device_kind(o.model.device) != DeviceKind::cpu) o.modelled_gpu = emulate(o.modelled_gpu);
  const auto model = cli::load_model(o.model);
  drop_too_long(arrivals, model->shape().context_length, report);
  report.workload.emplace_back("requests", fmt::format("{}", arrivals.size()));
  if (o.warm_up > 0) report.workload.emplace_back("warm-up", fmt::format("{} requests", o.warm_up));
  report.workload.emplace_back("strategy", o.strategy);
  report.workload.emplace_back("seed", fmt::format("{}", o.model.seed));
  const Runner runner(o, model, std::move(arrivals));
  report.machine = this_machine();
  report.model = cli::model_name(o.model);
  report.device = model->device().description;
  if (runner.is_modelled()) {
    report.modelled_gpu = o.modelled_gpu;
    report.workload.emplace_back("KV cache", fmt::format("{} tokens", runner.serve_options().engine.kv_cache_tokens));
  }
  report.limits = runner.serve_options().limits;
  const auto at = [&](double rate) { return runner.run(rate); };
  const double first = o.rates.empty() ? runner.natural_rate() : o.rates[0];
  if (o.sweep) {
    if (std::isinf(first))
      throw InvalidArgument("--sweep: the trace's requests all come at once; give a --rate to start from");
    report.results = find_knee(first, at);
  } else if (o.rates.empty()) {
    report.results = {at(first)};
  } else {
    for (const double rate : o.rates) report.results.push_back(at(rate));
  }
  fmt::print("{}", render(report, o.format));
}

void add_workload_options(CLI::App& command, Options& o) {
  const auto positive = cli::whole_number<std::int64_t>(1, 1'000'000);
  command
      .add_option("--rate", o.rates,
                  "requests a second, one or several; inf: all at once (default: 1, or as the trace recorded)")
      ->check(CLI::Validator(
          [](std::string& text) -> std::string {
            if (CLI::Number(text).empty()) return {};
            return fmt::format("\"{}\" is neither a number in (0, 1e6] nor inf", text);
          },
          ""))
      ->delimiter(',');
  command.add_option("--seed", o.model.seed, "seed of arrivals, lengths and prompts, and of the weights that --shape draws")
      ->check(cli::whole_number<std::uint64_t>())
      ->capture_default_str();
  command.add_flag("--sweep", o.sweep,
                   "find the highest rate at which 90% of the requests keep the limits, starting from --rate");
  command.add_option("--requests", o.requests, "how many; of a trace, at most")->check(positive)->capture_default_str();
  command
      .add_option("--warm-up", o.warm_up,
                  "requests of the same lengths with other prompts, answered before those that are timed; 0: 4 short ones")
      ->check(cli::whole_number<std::int64_t>(0, 1'000'000))
      ->capture_default_str();
  std::vector<CLI::Option*> drawn = {
      command.add_option("--arrivals", o.arrivals, "poisson or constant")->capture_default_str(),
      command.add_option("--prompt-tokens", o.prompt, "N, uniform:MINIMUM:MAXIMUM or lognormal:MEAN:SIGMA")
          ->capture_default_str(),
      command.add_option("--output-tokens", o.output, "the same, of what is generated")->capture_default_str(),
      command.add_option("--prefix-tokens", o.prefix_tokens, "put before prompts, the same tokens for all of them; 0: none")
          ->check(cli::whole_number<std::int64_t>(0, 1 << 20))
          ->capture_default_str(),
      command.add_option("--prefix-share", o.prefix_share, "share of the prompts that begin with the prefix")
          ->capture_default_str()};
  CLI::Option* trace =
      command.add_option("--trace", o.trace, "file of recorded arrivals: Mooncake (JSON lines) or BurstGPT (CSV)")
          ->check(CLI::ExistingFile);
  for (CLI::Option* option : drawn) trace->excludes(option);
  command.add_option("--trace-block", o.trace_block, "tokens of a Mooncake trace's blocks")
      ->check(positive)
      ->capture_default_str()
      ->needs(trace);
  command.add_option("--ttft-limit", o.ttft_limit_ms, "ms to the first token, for a request to be good")
      ->capture_default_str();
  command.add_option("--itl-limit", o.itl_limit_ms, "ms between a good request's tokens, on average")->capture_default_str();
}

}  // namespace

CLI::App* add_serve(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "serve", "Requests that arrive over time: latencies, throughput, and the rate that the engine sustains");
  const auto o = std::make_shared<Options>();
  cli::add_model_options(*command, o->model);
  cli::add_synthetic_options(*command, o->model);
  add_workload_options(*command, *o);
  cli::add_kv_options(*command, o->kv);
  const auto count = cli::whole_number<std::int64_t>();
  command
      ->add_option("--kv-cache-tokens", o->engine.kv_cache_tokens,
                   "tokens in the KV cache; 0: what fits; on the emulator of CUDA what the requests can use, up to 1 GiB")
      ->check(count)
      ->capture_default_str();
  command->add_option("--max-num-seqs", o->engine.max_num_seqs, "sequences that run at a time")
      ->check(count)
      ->capture_default_str();
  command
      ->add_option("--max-num-batched-tokens", o->engine.max_num_batched_tokens,
                   "tokens in a step; 0: 256 on the CPU, 512 on CUDA")
      ->check(count)
      ->capture_default_str();
  command->add_flag("--no-prefix-caching", o->no_prefix_caching, "compute prompts that share a prefix in full");
  add_modelled_gpu(*command, o->modelled_gpu);
  command->add_option("--strategy", o->strategy, "sampling strategy: " + strategy_names())->capture_default_str();
  const auto format = command->add_option("--format", o->format, "table, markdown, json or csv")->capture_default_str();
  command
      ->add_flag_callback(
          "--json", [o] { o->format = "json"; }, "short for --format json")
      ->excludes(format);
  command->callback([o] { run(*o); });
  return command;
}

}  // namespace warploom::bench
