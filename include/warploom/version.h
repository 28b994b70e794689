// The library's version; CMakeLists.txt reads the numbers from here.
#pragma once

#include "warploom/export.h"

#define WARPLOOM_VERSION_MAJOR 0
#define WARPLOOM_VERSION_MINOR 1
#define WARPLOOM_VERSION_PATCH 0

namespace warploom {

struct Version {
  int major = 0;
  int minor = 0;
  int patch = 0;
  const char* text = "";  ///< e.g. "0.1.0"; never goes away
};

/// The version of the library that the program runs with; the macros are those of the headers that it was compiled with.
[[nodiscard]] WARPLOOM_EXPORT Version version();

}  // namespace warploom
