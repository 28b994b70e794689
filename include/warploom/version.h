// The library's version; CMakeLists.txt reads it from here.
#pragma once

#define WARPLOOM_VERSION_MAJOR 0
#define WARPLOOM_VERSION_MINOR 1
#define WARPLOOM_VERSION_PATCH 0
