// What a user can do if CUDA cannot run.
#pragma once

namespace warploom {

/// Ends each message that says why CUDA cannot be used.
inline constexpr const char* kWithoutGpu =
    "Without a GPU, choose the CPU (--device cpu); tools/gpu_emulator/README.md says how to run CUDA code on an emulator";

}  // namespace warploom
