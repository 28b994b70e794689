// Marks functions that the host's and the device's compiler share.
#pragma once

#if defined(__CUDACC__)
#define WARPLOOM_HOST_DEVICE __host__ __device__
#else
#define WARPLOOM_HOST_DEVICE
#endif
