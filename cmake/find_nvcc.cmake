# Finds nvcc of CUDA 13 with the headers beside it: the one that WARPLOOM_NVCC names (cache or environment), else the first of
# the path, CUDA_HOME, CUDA_PATH, /usr/local/cuda, and .venv, where scripts/setup puts it. Sets
#   WARPLOOM_NVCC           cached; empty where there is none, and then WARPLOOM_NVCC_MISSING says why
#   WARPLOOM_CUDA_VERSION   13.x
#   WARPLOOM_CUDA_ROOT      the toolkit, with bin/ and include/
#   WARPLOOM_CUDA_INCLUDE   where cuda_runtime_api.h is
# `cmake -P cmake/find_nvcc.cmake` prints the path, or nothing.
set(WARPLOOM_NVCC "${WARPLOOM_NVCC}" CACHE FILEPATH "nvcc of CUDA 13")
set(WARPLOOM_NVCC_MISSING "no nvcc of CUDA 13 (WARPLOOM_NVCC can name one; scripts/test installs it)")

set(named "${WARPLOOM_NVCC}")
if(named STREQUAL "" OR NOT EXISTS "${named}")  # what a removed .venv left in the cache is looked for again
  set(named "$ENV{WARPLOOM_NVCC}")
endif()
if(named STREQUAL "")
  get_filename_component(root ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
  file(GLOB installed ${root}/.venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
  file(TO_CMAKE_PATH "$ENV{PATH}" folders)
  list(APPEND folders "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
  list(TRANSFORM folders APPEND /nvcc)
  set(candidates ${folders} ${installed})
else()
  set(candidates ${named})
endif()

set(WARPLOOM_NVCC "" CACHE FILEPATH "nvcc of CUDA 13" FORCE)
foreach(candidate ${candidates})
  if(NOT EXISTS ${candidate} OR IS_DIRECTORY ${candidate})
    continue()
  endif()
  execute_process(COMMAND ${candidate} --version OUTPUT_VARIABLE version RESULT_VARIABLE status ERROR_QUIET)
  if(NOT status EQUAL 0 OR NOT version MATCHES "release (13\\.[0-9]+)")
    set(WARPLOOM_NVCC_MISSING "${candidate} is not of CUDA 13")
    continue()
  endif()
  set(WARPLOOM_CUDA_VERSION ${CMAKE_MATCH_1})
  get_filename_component(bin ${candidate} REALPATH)
  get_filename_component(bin ${bin} DIRECTORY)
  get_filename_component(WARPLOOM_CUDA_ROOT ${bin} DIRECTORY)
  set(WARPLOOM_CUDA_INCLUDE ${WARPLOOM_CUDA_ROOT}/include)
  if(NOT EXISTS ${WARPLOOM_CUDA_INCLUDE}/cuda_runtime_api.h)
    set(WARPLOOM_NVCC_MISSING "no ${WARPLOOM_CUDA_INCLUDE}/cuda_runtime_api.h beside ${candidate}")
    continue()
  endif()
  set(WARPLOOM_NVCC ${candidate} CACHE FILEPATH "nvcc of CUDA 13" FORCE)
  break()
endforeach()
if(NOT named STREQUAL "" AND WARPLOOM_NVCC STREQUAL "")
  message(FATAL_ERROR "WARPLOOM_NVCC=${named}: ${WARPLOOM_NVCC_MISSING}")
endif()
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE AND WARPLOOM_NVCC)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo ${WARPLOOM_NVCC})
endif()
