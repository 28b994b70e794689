// Marks functions that are compiled for the host and the device.
#pragma once

#if defined(__CUDACC__)
#define WARPLOOM_HOST_DEVICE __host__ __device__
#else
#define WARPLOOM_HOST_DEVICE
#endif
