// The CUDA backend for tests: on a GPU, or on the emulator, where the preset `emulated` builds them.
#pragma once

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "backend/backend.h"
#include "tokenizer/tokenizer.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::test {

inline DeviceOptions cuda_options() {
  DeviceOptions options;
  options.kind = DeviceKind::cuda;
  return options;
}

inline std::unique_ptr<Backend> cuda_backend(const DeviceOptions& options = cuda_options()) {
  return create_backend(options);
}

inline std::string real_model_path() {
  const std::string path = std::string(WARPLOOM_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) throw std::runtime_error(path + " is missing: scripts/test fetches it");
  return path;
}

}  // namespace warploom::test
