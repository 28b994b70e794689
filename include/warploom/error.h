// What the library throws. Expected outcomes (length reached, no free blocks, cancelled) are values, never exceptions.
#pragma once

#include <stdexcept>
#include <string>

#include "warploom/export.h"

namespace warploom {

/// Base of every exception that the library throws on purpose, except std::logic_error for misuse of a BlockPool.
class WARPLOOM_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller passed something out of its documented range. The text names the argument, its value and the bound.
class WARPLOOM_EXPORT InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// A model file is missing, damaged or of an unsupported kind. The text names the path and, offset and tensor if they are known.
class WARPLOOM_EXPORT ModelError : public Error {
 public:
  using Error::Error;
};

/// Host or device memory ran out. The text names what was being allocated and its size in bytes, as far as they are known,
/// and of a GPU's memory how much is free.
class WARPLOOM_EXPORT OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// The device failed, is not available, or refused a call. After a failure of the device, every later call that uses the model
/// throws this, too, and says so: load the model again.
class WARPLOOM_EXPORT BackendError : public Error {
 public:
  using Error::Error;
};

/// The engine takes no more requests: it is drained, shut down, or its device failed.
class WARPLOOM_EXPORT EngineStopped : public Error {
 public:
  using Error::Error;
};

/// As many requests wait as the engine may queue. Engine::try_submit() says so by a value instead.
class WARPLOOM_EXPORT QueueFull : public Error {
 public:
  using Error::Error;
};

}  // namespace warploom
