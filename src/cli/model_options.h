// Options that every command which runs a model shares.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "warploom/engine_options.h"
#include "warploom/model.h"
#include "warploom/sampling.h"

namespace warploom::cli {

struct ModelChoice {
  std::string path;  // empty: the one under models/
  std::string device = "auto";
  std::string weights = "packed";
  std::string compute_type = "f16";
  int threads = 0;
  std::string isa = "automatic";
  int gpu = 0;
  bool deterministic = false;
  bool no_graphs = false;
  bool no_dependent_launch = false;
  bool quiet = false;
  // Weights drawn from a seed instead of a file.
  std::string shape;  // empty: the file's
  std::string weight_type = "Q4_K_M";
  std::uint64_t seed = 1;
};

/// --device and what goes with it.
void add_device_options(CLI::App& command, ModelChoice& choice);
/// --model, --quiet and add_device_options().
void add_model_options(CLI::App& command, ModelChoice& choice);
/// --shape and --type, for weights from choice.seed. Call it after add_model_options.
void add_synthetic_options(CLI::App& command, ModelChoice& choice);
/// What reports call it: the file's name, or the shape and the type.
std::string model_name(const ModelChoice& choice);

struct KvChoice {
  std::string type = "f16";
  std::int64_t block_size = 16;
  bool round_attention = false;
};

/// --kv-type, --kv-block and --round-attention.
void add_kv_options(CLI::App& command, KvChoice& choice);
/// Throws InvalidArgument.
DType kv_type_of(const KvChoice& choice);
/// Sets what was chosen in EngineOptions or ScoreOptions. Throws InvalidArgument.
template <typename Options>
void set_kv_options(const KvChoice& choice, Options& options) {
  options.kv_type = kv_type_of(choice);
  options.block_size = choice.block_size;
  options.round_attention = choice.round_attention;
}

/// The given path, or the only GGUF file under models/ of the current folder or of the tree that holds this program.
/// Throws InvalidArgument naming scripts/demo if there is none, or several.
std::string find_model(const std::string& path);

/// Throws InvalidArgument.
DeviceOptions device_options(const ModelChoice& choice);

/// Loads with progress on a terminal. `seconds` (may be null) gets how long it took.
std::shared_ptr<const Model> load_model(const ModelChoice& choice, double* seconds = nullptr);

struct SamplingChoice {
  SamplingParams params{.temperature = 0.7f, .top_k = 50, .top_p = 0.9f};
  std::uint64_t seed = 0;
};

/// --temperature, --top-k, --top-p, --min-p, penalties, --seed.
void add_sampling_options(CLI::App& command, SamplingChoice& choice);
/// With the seed given, or one drawn from the system so that two runs differ; it is shown, so that a run can be repeated.
SamplingParams resolve(const SamplingChoice& choice, CLI::App& command);

}  // namespace warploom::cli
