// How full a GPU is, for those whose allocation failed.
#pragma once

#include <string>

namespace warploom::cuda {

/// Of the current GPU, to end the text of an OutOfMemory: "; 12.5 of 8192.0 MiB are free", or nothing if the device does not tell.
std::string free_memory();

}  // namespace warploom::cuda
