#include "cuda/runtime/check.h"

#include <fmt/format.h>

#include "cuda/runtime/free_memory.h"

namespace warploom::cuda {

namespace {

// What, by the runtime's documentation, leaves the process in an inconsistent state, and losses of the device.
bool leaves_the_device_unusable(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // taken back from the runtime, which would report it to the application again
  if (error == cudaErrorMemoryAllocation) throw OutOfMemory(fmt::format("{}: out of device memory{}", what, free_memory()));
  const std::string message = fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error));
  if (leaves_the_device_unusable(error)) throw DeviceFault(message);
  throw BackendError(message);
}

}  // namespace warploom::cuda
