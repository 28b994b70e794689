#include "warploom/version.h"

#define WARPLOOM_TEXT(number) #number
#define WARPLOOM_TEXT_OF(number) WARPLOOM_TEXT(number)

namespace warploom {

Version version() {
  return {WARPLOOM_VERSION_MAJOR, WARPLOOM_VERSION_MINOR, WARPLOOM_VERSION_PATCH,
          WARPLOOM_TEXT_OF(WARPLOOM_VERSION_MAJOR) "." WARPLOOM_TEXT_OF(WARPLOOM_VERSION_MINOR) "." WARPLOOM_TEXT_OF(
              WARPLOOM_VERSION_PATCH)};
}

}  // namespace warploom
