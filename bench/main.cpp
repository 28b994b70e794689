#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/checks.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/say.h"
#if defined(WARPLOOM_BENCH_OPS)
#include "cpu/cpu_ops.h"
#endif
#include "format.h"
#include "gpu_command.h"
#include "modelled_gpus.h"
#include "report.h"
#include "serve_command.h"
#include "warploom/error.h"
#include "warploom/synthetic.h"
#include "worker_command.h"

namespace {

using namespace warploom;
using namespace warploom::bench;

constexpr std::int64_t kMaxBatch = 4096;  // of EngineOptions::max_num_seqs

struct Options {
  cli::ModelChoice model;
  std::vector<std::int64_t> prompts = {512}, lengths = {128}, batches = {1, 8, 32}, rows = {1, 64}, vocabs = {128256};
  std::int64_t context = 32, working_set = 64;
  int repeats = 5;
  std::string format = "table", strategy = "greedy", logits;
  bool no_kv_cache = false, sampler = false, ops = false, gpu_ops = false, list = false;
  cli::KvChoice kv;
  GpuOpsOptions gpu;
};

void note(const Options& o, const Measurement& m) {
  if (!o.model.quiet) cli::say("{}: {:.1f} {}\n", m.test, m.median(), m.unit);
}

void check_positive(const char* name, const std::vector<std::int64_t>& values) {
  for (const std::int64_t v : values)
    if (v < 1) throw InvalidArgument(fmt::format("{}: {} is not at least 1", name, v));
}

// Before anything is measured.
void check_lengths(const Options& o, std::int64_t context) {
  for (const std::int64_t p : o.prompts)
    if (p >= context)
      throw InvalidArgument(fmt::format("-p: {} tokens and one more do not fit the model's context of {}", p, context));
  for (const std::int64_t n : o.lengths) {
    if (n < 2) throw InvalidArgument("-n: generation is timed from the first token to the last, so it takes at least 2");
    if (o.context > context - n)
      throw InvalidArgument(
          fmt::format("-c and -n: {} and {} tokens do not fit the model's context of {}", o.context, n, context));
  }
}

void run_ops([[maybe_unused]] const Options& o) {
#if defined(WARPLOOM_BENCH_OPS)
  CpuOpsOptions options;
  options.device.kind = DeviceKind::cpu;
  options.device.threads = o.model.threads;
  options.device.isa = parse_cpu_isa(o.model.isa);
  options.repeats = o.repeats;
  options.working_set = static_cast<std::size_t>(o.working_set) << 20;
  options.shape = model_shape(o.model.shape.empty() ? "smollm2-135m" : o.model.shape);
  const CpuOps measured = measure_cpu_ops(options, [&](const CpuOp& op) {
    if (!o.model.quiet) cli::say("{}: {:.1f} us\n", op.name, 1e6 * op.seconds);
  });
  fmt::print("{}", render(measured.ops, heading(this_machine(), measured.device, ""), o.format));
#else
  throw InvalidArgument("--ops: this build's library is shared and hides its ops; build with BUILD_SHARED_LIBS=OFF");
#endif
}

// Single ops have sizes of their own: what only a shape's decode steps take is refused.
void check_gpu_ops(const CLI::App& app, const Options& o) {
  if (!o.model.shape.empty()) return;
  for (const char* name : {"--batch", "--context"})
    if (app.count(name) > 0)
      throw InvalidArgument(fmt::format(
          "{}: --gpu-ops takes it for the decode steps of a shape: give --shape, too, e.g. --shape llama-3.2-1b", name));
}

int run(const CLI::App& app, const Options& o) {
  check_format(o.format);
  if (o.repeats < 1) throw InvalidArgument("--repeats must be at least 1");
  if (o.ops) {
    run_ops(o);
    return 0;
  }
  check_positive("-p", o.prompts), check_positive("-n", o.lengths), check_positive("-b", o.batches),
      check_positive("--rows", o.rows), check_positive("--vocab", o.vocabs), check_positive("-c", {o.context});
  const SamplingParams sampling = strategy_params(o.strategy);
  for (const std::int64_t b : o.batches)
    if (b > kMaxBatch) throw InvalidArgument(fmt::format("-b: {} is not at most {}", b, kMaxBatch));
  if (o.gpu_ops) {
    check_gpu_ops(app, o);
    if (o.list) {
      list_gpu_ops(o.gpu);
      return 0;
    }
    GpuOpsOptions ops = o.gpu;
    ops.repeats = o.repeats;
    run_gpu_ops({ops, o.model, o.batches, o.context, o.format});
    return 0;
  }
  Report report;
  report.machine = this_machine();
  const auto add = [&](const Measurement& m) {
    note(o, m);
    report.measurements.push_back(m);
  };
  if (o.sampler) {
    report.device = fmt::format("cpu: {}, {} threads", name(available_cpu_isas().back()), std::max(1, o.model.threads));
    for (const std::int64_t vocab_size : o.vocabs)
      for (const std::int64_t rows : o.rows) {
        const std::vector<float> logits =
            o.logits.empty() ? normal_logits(rows, vocab_size) : read_logits(o.logits, rows, vocab_size);
        for (const SamplerCase& c : sampler_cases())
          add(measure_sampler(c, logits, rows, vocab_size, std::max(1, o.model.threads), o.repeats));
      }
  } else {
    EngineOptions engine;
    cli::set_kv_options(o.kv, engine);
    EngineOptions without_cache = engine;
    without_cache.use_kv_cache = false;
    const int threads = o.model.threads > 0 ? o.model.threads : report.machine.cores;
    const auto model = cli::load_model(o.model);
    report.model = cli::model_name(o.model);
    report.device = model->device().description;
    check_lengths(o, model->shape().context_length);
    for (const std::int64_t p : o.prompts) add(measure_prompt(model, p, 1, engine, o.repeats));
    for (const std::int64_t n : o.lengths) {
      for (const std::int64_t b : o.batches)
        add(measure_generation(model, o.context, n, b, sampling, engine, threads, o.repeats));
      if (o.no_kv_cache) add(measure_generation(model, o.context, n, 1, sampling, without_cache, threads, 1));
    }
  }
  fmt::print("{}", render(report, o.format));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures prompt processing, generation and sampling; sampling time is included.", "warploom-bench");
  cli::add_model_options(app, o.model);
  cli::add_synthetic_options(app, o.model);
  app.add_option("--seed", o.model.seed, "seed of the weights that --shape draws")
      ->check(cli::whole_number<std::uint64_t>())
      ->capture_default_str();
  std::vector<CLI::Option*> of_models = {
      app.get_option("--model"),
      app.add_option("-p,--prompt", o.prompts, "prompt lengths")->delimiter(',')->capture_default_str(),
      app.add_option("-n,--length", o.lengths, "tokens to generate")->delimiter(',')->capture_default_str()};
  app.add_option("-b,--batch", o.batches, "batch sizes")->delimiter(',')->capture_default_str();
  app.add_option("-c,--context", o.context, "prompt tokens before generation")->capture_default_str();
  of_models.push_back(app.add_option("--strategy", o.strategy, "sampling strategy of generation: " + strategy_names())
                          ->capture_default_str());
  cli::add_kv_options(app, o.kv);
  for (const char* name : {"--kv-type", "--kv-block", "--round-attention"}) of_models.push_back(app.get_option(name));
  of_models.push_back(app.add_flag("--no-kv-cache", o.no_kv_cache, "also measure batch 1 without the KV cache"));
  const auto sampler = app.add_flag("--sampler", o.sampler, "measure the sampler alone instead (no model)");
  const auto ops = app.add_flag(
      "--ops", o.ops, "measure the CPU's ops one by one, in the sizes of --shape, beside what the machine can do at most");
  app.add_option("--working-set", o.working_set,
                 "MiB of weights, or of a KV cache, that --ops goes round in; beyond the shared cache, memory alone answers")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->needs(ops);
  app.add_option("--rows", o.rows, "rows of logits a call, for --sampler")->delimiter(',')->capture_default_str();
  app.add_option("--vocab", o.vocabs, "vocabulary sizes, for --sampler")->delimiter(',')->capture_default_str();
  app.add_option("--logits", o.logits, "file of raw f32 rows for --sampler, instead of normal(0, 3) ones")
      ->check(CLI::ExistingFile);
  const auto gpu_ops =
      app.add_flag("--gpu-ops", o.gpu_ops,
                   "measure single CUDA ops on --gpu instead; with --shape, that shape's decode steps (-b, -c)")
          ->excludes(sampler)
          ->excludes(ops);
  for (CLI::Option* option : of_models) gpu_ops->excludes(option);
  const auto shape = app.get_option("--shape");
  app.add_option("--only", o.gpu.only, "parts of the names of tests that --gpu-ops runs (default: all; --list prints them)")
      ->delimiter(',')
      ->needs(gpu_ops)
      ->excludes(shape);
  app.add_flag("--small", o.gpu.small, "sizes for --gpu-ops that take an emulator seconds")->needs(gpu_ops)->excludes(shape);
  app.add_flag("--list", o.list, "print the names of the tests that --gpu-ops would run, and end; takes no GPU")
      ->needs(gpu_ops)
      ->excludes(shape);
  add_modelled_gpu(app, o.gpu.modelled_gpu)->needs(gpu_ops);
  app.add_option("-r,--repeats", o.repeats, "runs of each test, after one to warm up")->capture_default_str();
  const auto format = app.add_option("--format", o.format, "table, markdown, json or csv")->capture_default_str();
  app.add_flag_callback(
         "--json", [&] { o.format = "json"; }, "short for --format json")
      ->excludes(format);
  app.require_subcommand(0, 1);
  add_serve(app);
  add_worker(app);
  return cli::run_program(app, argc, argv, [&] { return app.get_subcommands().empty() ? run(app, o) : 0; });
}
