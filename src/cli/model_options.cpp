#include "cli/model_options.h"

#include <chrono>
#include <filesystem>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "cli/checks.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "warploom/error.h"
#include "warploom/synthetic.h"

namespace warploom::cli {

namespace fs = std::filesystem;

namespace {

template <typename T>
T one_of(const char* option, const std::string& text, std::initializer_list<std::pair<const char*, T>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  }
  throw InvalidArgument(fmt::format("{}: \"{}\" is not one of {}", option, text, names));
}

}  // namespace

void add_device_options(CLI::App& command, ModelChoice& choice) {
  command.add_option("--device", choice.device, "auto, cpu or cuda")->capture_default_str();
  command.add_option("--threads", choice.threads, "CPU threads; 0: one for each core that this process may use")
      ->check(whole_number<int>())
      ->capture_default_str();
  command.add_option("--isa", choice.isa, "CPU: an instruction set below this machine's best, to compare: e.g. avx2")
      ->capture_default_str();
  command.add_option("--gpu", choice.gpu, "CUDA: which GPU, from 0")->check(whole_number<int>())->capture_default_str();
  command.add_option("--weights", choice.weights, "CUDA: packed (4 bits stay 4 bits) or half (unpacked to 16 bits)")
      ->capture_default_str();
  command.add_option("--compute-type", choice.compute_type, "CUDA: what matrix products read: f16 or bf16")
      ->capture_default_str();
  command.add_flag("--deterministic", choice.deterministic, "CUDA: logits that do not depend on the batch, bit for bit");
  command.add_flag("--no-graphs", choice.no_graphs, "CUDA: launch every kernel anew instead of replaying recorded steps");
  command.add_flag("--no-dependent-launch", choice.no_dependent_launch,
                   "CUDA: no kernel begins before the one ahead has ended, to compare");
}

void add_model_options(CLI::App& command, ModelChoice& choice) {
  command.add_option("-m,--model", choice.path, "GGUF file; without it, the one under models/")->check(not_empty());
  add_device_options(command, choice);
  command.add_flag("-q,--quiet", choice.quiet, "no progress, no summary: errors alone go to standard error");
}

void add_synthetic_options(CLI::App& command, ModelChoice& choice) {
  const auto shape = command.add_option("--shape", choice.shape,
                                        "weights drawn from a seed, without a file, in the shape of a known model: e.g. " +
                                            model_shape_names().front() + "; an unknown name lists all");
  shape->check(not_empty())->excludes("--model");
  command
      .add_option("--type", choice.weight_type, "type of these weights: e.g. Q4_0, Q4_K_M, F16; an unknown name lists all")
      ->capture_default_str()
      ->needs(shape);
}

std::string model_name(const ModelChoice& choice) {
  if (!choice.shape.empty())
    return fmt::format("{} {}, weights from seed {}", choice.shape, choice.weight_type, choice.seed);
  return fs::path(find_model(choice.path)).filename().string();
}

void add_kv_options(CLI::App& command, KvChoice& choice) {
  command.add_option("--kv-type", choice.type, "what the KV cache stores: f16, bf16 or f32; on the CPU also int8")
      ->capture_default_str();
  command.add_option("--kv-block", choice.block_size, "tokens a block of the KV cache; on CUDA 8, 16 or 32")
      ->check(whole_number<std::int64_t>())
      ->capture_default_str();
  command.add_flag("--round-attention", choice.round_attention,
                   "with --kv-type bf16: round queries and probabilities to bf16, too, which is faster and less exact");
}

DType kv_type_of(const KvChoice& choice) {
  return one_of<DType>("--kv-type", choice.type,
                       {{"f16", DType::f16}, {"f32", DType::f32}, {"bf16", DType::bf16}, {"int8", DType::int8}});
}

std::string find_model(const std::string& path) {
  if (!path.empty()) return path;
  std::error_code error;
  std::vector<fs::path> folders = {"models"};
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  // The program lies in build/PRESET/bin of the source tree.
  if (!error) folders.push_back(self.parent_path().parent_path().parent_path().parent_path() / "models");
  for (const fs::path& folder : folders) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (entry.path().extension() == ".gguf") found.push_back(entry.path());
    if (found.size() == 1) return found[0].string();
    if (found.size() > 1)
      throw InvalidArgument(fmt::format("{} holds {} models; choose one with --model", folder.string(), found.size()));
  }
  throw InvalidArgument(
      "there is no model under models/: give one with --model FILE.gguf; in a clone, scripts/demo fetches one");
}

DeviceOptions device_options(const ModelChoice& choice) {
  DeviceOptions options;
  options.kind = parse_device_kind(choice.device);
  options.threads = choice.threads;
  options.isa = parse_cpu_isa(choice.isa);
  CudaOptions& cuda = options.cuda;
  cuda.gpu = choice.gpu;
  cuda.weights =
      one_of<CudaWeights>("--weights", choice.weights, {{"packed", CudaWeights::packed}, {"half", CudaWeights::half}});
  cuda.compute_type = one_of<DType>("--compute-type", choice.compute_type, {{"f16", DType::f16}, {"bf16", DType::bf16}});
  cuda.deterministic = choice.deterministic;
  cuda.cuda_graphs = !choice.no_graphs;
  cuda.dependent_launch = !choice.no_dependent_launch;
  return options;
}

std::shared_ptr<const Model> load_model(const ModelChoice& choice, double* seconds) {
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  ModelOptions options;
  options.device = device_options(choice);
  ShareProgress progress(!choice.quiet, "loading");
  options.progress = [&](double share) { progress.see(share); };
  auto model = choice.shape.empty() ? Model::load(find_model(choice.path), options)
                                    : synthetic_model(model_shape(choice.shape), choice.weight_type, choice.seed, options);
  progress.clear();
  if (const std::string& why = model->device().cuda_unavailable; !choice.quiet && !why.empty())
    say("running on the CPU: {}\n", why);
  if (seconds) *seconds = elapsed();
  return model;
}

void add_sampling_options(CLI::App& command, SamplingChoice& choice) {
  SamplingParams& p = choice.params;
  command.add_option("-t,--temperature", p.temperature, "0 is greedy")->capture_default_str();
  command.add_option("-k,--top-k", p.top_k, "keep the k most probable tokens; 0: off")
      ->check(whole_number<std::int64_t>())
      ->capture_default_str();
  command.add_option("-p,--top-p", p.top_p, "keep the smallest set of this much probability, in (0, 1]; 1: off")
      ->capture_default_str();
  command.add_option("--min-p", p.min_p, "drop tokens below this share of the most probable one's probability; 0: off")
      ->capture_default_str();
  command.add_option("--repetition-penalty", p.repetition_penalty, "1: off")->capture_default_str();
  command.add_option("--frequency-penalty", p.frequency_penalty, "0: off")->capture_default_str();
  command.add_option("--presence-penalty", p.presence_penalty, "0: off")->capture_default_str();
  command.add_option("-s,--seed", choice.seed, "same seed, same text; without it, a new one each run, shown in the summary")
      ->check(whole_number<std::uint64_t>());
}

SamplingParams resolve(const SamplingChoice& choice, CLI::App& command) {
  SamplingParams params = choice.params;
  // The library takes more as off. Here it is a mistake: -p is no number of tokens, nor a percentage.
  if (params.top_p > 1.0f) throw InvalidArgument(fmt::format("top_p is {}; it must be in (0, 1] (1 is off)", params.top_p));
  params.seed = choice.seed;
  if (command.count("--seed") == 0) params.seed = std::random_device{}();
  validate(params);
  return params;
}

}  // namespace warploom::cli
