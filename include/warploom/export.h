// Symbol visibility: the library is built with everything hidden but what carries this mark.
#pragma once

#define WARPLOOM_EXPORT __attribute__((visibility("default")))
