#include "modelled_gpus.h"

#include <cstdlib>

#include <fmt/format.h>

#include "tools/gpu_emulator/include/emulator/emulator.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr std::string_view kNames = WARPLOOM_EMULATOR_GPUS;
constexpr const char* kDevice = "WARPLOOM_EMULATOR_DEVICE";

bool is_name(std::string_view name) {
  for (std::string_view rest = kNames; !rest.empty();) {
    const std::size_t comma = rest.find(", ");
    if (rest.substr(0, comma) == name) return true;
    rest.remove_prefix(comma == rest.npos ? rest.size() : comma + 2);
  }
  return false;
}

std::string refusal(std::string_view name) { return fmt::format("\"{}\" is not one of {}", name, kNames); }

}  // namespace

void check_modelled_gpu(std::string_view source, std::string_view name) {
  if (!is_name(name)) throw InvalidArgument(fmt::format("{}: {}", source, refusal(name)));
}

CLI::Option* add_modelled_gpu(CLI::App& command, std::string& name) {
  return command
      .add_option(
          "--modelled-gpu", name,
          fmt::format("the GPU that the emulator of CUDA passes for, and whose times it models: {}; without it, what {} "
                      "says, or h100",
                      kNames, kDevice))
      ->check(CLI::Validator([](std::string& text) { return is_name(text) ? std::string() : refusal(text); }, ""));
}

std::string emulate(const std::string& name) {
  const char* device = std::getenv(kDevice);
  if (!device) {
    std::string gpu = name.empty() ? "h100" : name;
    setenv(kDevice, gpu.c_str(), 0);
    return gpu;
  }
  check_modelled_gpu(kDevice, device);
  if (!name.empty() && name != device)
    throw InvalidArgument(fmt::format("--modelled-gpu: {}, but {} is {}; the emulator models the GPU that it passes for",
                                      name, kDevice, device));
  return device;
}

}  // namespace warploom::bench
