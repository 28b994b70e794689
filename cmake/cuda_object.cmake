# cuda_object(RESULT SOURCE): compiles a .cu file by nvcc directly (CMake's own CUDA language needs a whole toolkit on the path) and
# sets RESULT to the object's path.
# Machine code runs on its compute capability and later ones of the same major version: sm_80 on 8.0, 8.6 and 8.9, sm_90 on 9.0, sm_100 on
# 10.0 and 10.3, sm_120 on 12.0 and 12.1. PTX, which the driver compiles at first use for some minutes, is for the rest: of compute_80 for
# 8.7, a Tegra, on which the machine code of cards does not run; of compute_100 for 11.0; of compute_120 for GPUs to come.
# Compressed for size: all of it takes a fifth of what the default's faster compression leaves.
set(WARPLOOM_CUDA_CODE "-gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90,code=sm_90 \
-gencode arch=compute_100,code=[sm_100,compute_100] -gencode arch=compute_120,code=[sm_120,compute_120] --compress-mode=size"
  CACHE STRING "What nvcc generates: machine code for some GPUs, PTX for the rest")
option(WARPLOOM_CUDA_LINE_TABLES "Source lines in CUDA code, for profilers and sanitisers: objects are three times as large" OFF)
separate_arguments(cuda_code UNIX_COMMAND "${WARPLOOM_CUDA_CODE}")
if(WARPLOOM_CUDA_LINE_TABLES)
  list(APPEND cuda_code -lineinfo)
endif()

function(cuda_object result source)
  string(REPLACE "/" "_" stem ${source})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${stem}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${WARPLOOM_NVCC} -std=c++20 -O3 ${cuda_code} -ccbin ${CMAKE_CXX_COMPILER}
            -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra -I ${PROJECT_SOURCE_DIR}/include -I ${PROJECT_SOURCE_DIR}/src
            -I ${PROJECT_SOURCE_DIR} -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} DEPFILE ${object}.d VERBATIM)
  set(${result} ${object} PARENT_SCOPE)
endfunction()
