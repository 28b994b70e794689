// Names of errors, and what they mean.
#include <cuda_runtime_api.h>

namespace {

struct ErrorText {
  cudaError_t error;
  const char *name, *meaning;  // nullptr: the name says it
};
#define WARPLOOM_ERROR(error, meaning) {error, #error, meaning},
constexpr ErrorText kErrors[] = {
    // clang-format off
    WARPLOOM_ERROR(cudaSuccess, "no error")
    WARPLOOM_ERROR(cudaErrorInvalidValue, "an argument is not valid")
    WARPLOOM_ERROR(cudaErrorMemoryAllocation, "out of memory")
    WARPLOOM_ERROR(cudaErrorInitializationError, nullptr)
    WARPLOOM_ERROR(cudaErrorCudartUnloading, nullptr)
    WARPLOOM_ERROR(cudaErrorInvalidConfiguration, "a launch with a grid, block or attribute that is not valid")
    WARPLOOM_ERROR(cudaErrorInvalidPitchValue, "a pitch smaller than the width")
    WARPLOOM_ERROR(cudaErrorInvalidSymbol, "no such symbol")
    WARPLOOM_ERROR(cudaErrorInvalidMemcpyDirection, "a copy of no valid direction")
    WARPLOOM_ERROR(cudaErrorStubLibrary, nullptr)
    WARPLOOM_ERROR(cudaErrorInsufficientDriver, nullptr)
    WARPLOOM_ERROR(cudaErrorDevicesUnavailable, nullptr)
    WARPLOOM_ERROR(cudaErrorIncompatibleDriverContext, nullptr)
    WARPLOOM_ERROR(cudaErrorMissingConfiguration, "a launch without a configuration")
    WARPLOOM_ERROR(cudaErrorInvalidDeviceFunction, "no such kernel")
    WARPLOOM_ERROR(cudaErrorNoDevice, "no device")
    WARPLOOM_ERROR(cudaErrorInvalidDevice, "no such device")
    WARPLOOM_ERROR(cudaErrorInvalidKernelImage, nullptr)
    WARPLOOM_ERROR(cudaErrorDeviceUninitialized, nullptr)
    WARPLOOM_ERROR(cudaErrorUnmapBufferObjectFailed, nullptr)
    WARPLOOM_ERROR(cudaErrorNoKernelImageForDevice, "no code for this device")
    WARPLOOM_ERROR(cudaErrorECCUncorrectable, nullptr)
    WARPLOOM_ERROR(cudaErrorUnsupportedLimit, nullptr)
    WARPLOOM_ERROR(cudaErrorDeviceAlreadyInUse, nullptr)
    WARPLOOM_ERROR(cudaErrorPeerAccessUnsupported, nullptr)
    WARPLOOM_ERROR(cudaErrorInvalidPtx, nullptr)
    WARPLOOM_ERROR(cudaErrorNvlinkUncorrectable, nullptr)
    WARPLOOM_ERROR(cudaErrorUnsupportedPtxVersion, "PTX that is not supported")
    WARPLOOM_ERROR(cudaErrorInvalidSource, nullptr)
    WARPLOOM_ERROR(cudaErrorFileNotFound, nullptr)
    WARPLOOM_ERROR(cudaErrorSharedObjectSymbolNotFound, nullptr)
    WARPLOOM_ERROR(cudaErrorSharedObjectInitFailed, nullptr)
    WARPLOOM_ERROR(cudaErrorOperatingSystem, nullptr)
    WARPLOOM_ERROR(cudaErrorInvalidResourceHandle, "a handle that is not valid")
    WARPLOOM_ERROR(cudaErrorIllegalState, "not in this state")
    WARPLOOM_ERROR(cudaErrorSymbolNotFound, "no such name")
    WARPLOOM_ERROR(cudaErrorNotReady, "not done yet")
    WARPLOOM_ERROR(cudaErrorIllegalAddress, "an illegal memory access by a kernel or copy")
    WARPLOOM_ERROR(cudaErrorLaunchOutOfResources, "a launch that asks for too many resources")
    WARPLOOM_ERROR(cudaErrorLaunchTimeout, "a kernel ran for too long")
    WARPLOOM_ERROR(cudaErrorPeerAccessAlreadyEnabled, nullptr)
    WARPLOOM_ERROR(cudaErrorPeerAccessNotEnabled, nullptr)
    WARPLOOM_ERROR(cudaErrorContextIsDestroyed, nullptr)
    WARPLOOM_ERROR(cudaErrorAssert, "an assertion in a kernel failed")
    WARPLOOM_ERROR(cudaErrorHostMemoryAlreadyRegistered, "memory that is registered already")
    WARPLOOM_ERROR(cudaErrorHostMemoryNotRegistered, "memory that is not registered")
    WARPLOOM_ERROR(cudaErrorHardwareStackError, nullptr)
    WARPLOOM_ERROR(cudaErrorIllegalInstruction, "an illegal instruction in a kernel")
    WARPLOOM_ERROR(cudaErrorMisalignedAddress, "a misaligned address in a kernel")
    WARPLOOM_ERROR(cudaErrorInvalidAddressSpace, nullptr)
    WARPLOOM_ERROR(cudaErrorInvalidPc, nullptr)
    WARPLOOM_ERROR(cudaErrorLaunchFailure, "a kernel failed")
    WARPLOOM_ERROR(cudaErrorCooperativeLaunchTooLarge, "a cooperative launch with more blocks than fit on the device")
    WARPLOOM_ERROR(cudaErrorNotPermitted, "not permitted")
    WARPLOOM_ERROR(cudaErrorNotSupported, "not supported")
    WARPLOOM_ERROR(cudaErrorSystemNotReady, nullptr)
    WARPLOOM_ERROR(cudaErrorSystemDriverMismatch, nullptr)
    WARPLOOM_ERROR(cudaErrorCompatNotSupportedOnDevice, nullptr)
    WARPLOOM_ERROR(cudaErrorStreamCaptureUnsupported, "not permitted while a stream is being captured")
    WARPLOOM_ERROR(cudaErrorStreamCaptureInvalidated, "the capture was broken by an earlier error")
    WARPLOOM_ERROR(cudaErrorStreamCaptureMerge, "two captures would be merged")
    WARPLOOM_ERROR(cudaErrorStreamCaptureUnmatched, "the capture began in another stream")
    WARPLOOM_ERROR(cudaErrorStreamCaptureUnjoined, "a stream that joined the capture was not joined back")
    WARPLOOM_ERROR(cudaErrorStreamCaptureIsolation, "a dependency on work outside of the capture")
    WARPLOOM_ERROR(cudaErrorStreamCaptureImplicit, "the legacy default stream would depend on a stream that is being captured")
    WARPLOOM_ERROR(cudaErrorCapturedEvent, "the event was recorded in a capture")
    WARPLOOM_ERROR(cudaErrorStreamCaptureWrongThread, "the capture began in another thread")
    WARPLOOM_ERROR(cudaErrorTimeout, nullptr)
    WARPLOOM_ERROR(cudaErrorGraphExecUpdateFailure, "the graph does not fit what was instantiated")
    WARPLOOM_ERROR(cudaErrorExternalDevice, nullptr)
    WARPLOOM_ERROR(cudaErrorInvalidClusterSize, nullptr)
    WARPLOOM_ERROR(cudaErrorUnknown, "unknown error")
    // clang-format on
};
#undef WARPLOOM_ERROR

}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t error) {
  for (const ErrorText& text : kErrors)
    if (text.error == error) return text.name;
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  for (const ErrorText& text : kErrors)
    if (text.error == error) return text.meaning != nullptr ? text.meaning : text.name;
  return "unrecognized error code";
}

}  // extern "C"
