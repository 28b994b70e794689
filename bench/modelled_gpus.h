// The GPUs that the emulator of CUDA passes for, and whose times it models.
#pragma once

#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

namespace warploom::bench {

/// Throws InvalidArgument, which begins with `source` and lists the names, if `name` is none of theirs.
void check_modelled_gpu(std::string_view source, std::string_view name);

/// --modelled-gpu. An unknown name is refused when the arguments are read.
CLI::Option* add_modelled_gpu(CLI::App& command, std::string& name);

/// Has the emulator, if this program comes to run on it, pass for the GPU whose times it models, and returns its name: `name`, or if
/// that is empty WARPLOOM_EMULATOR_DEVICE, or h100. Call it before anything of CUDA is loaded. Throws InvalidArgument if the
/// variable says something else than `name`, or names no such GPU.
std::string emulate(const std::string& name);

}  // namespace warploom::bench
