# cmake -D kind=Static|Shared -D source= -D build= -D work= -D generator= -D cxx= -D launcher= -D build_type= -D flags=
#   -D cuda=the toolkit with which warploom_cuda was built, or empty -P this
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "${command}\nfailed (${result}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(toolchain -G ${generator} -D CMAKE_CXX_COMPILER=${cxx} -D CMAKE_CXX_COMPILER_LAUNCHER=${launcher}
  -D CMAKE_BUILD_TYPE=${build_type} "-D CMAKE_CXX_FLAGS=${flags}")
if(kind STREQUAL "Shared")
  set(build ${work}/library)
  set(cuda_options -D WARPLOOM_CUDA=off)
  if(cuda)  # PTX alone, which compiles fastest
    set(cuda_options "-D WARPLOOM_CUDA_CODE=-gencode arch=compute_80,code=compute_80")
  endif()
  run(${CMAKE_COMMAND} -S ${source} -B ${build} ${toolchain} ${cuda_options} -D BUILD_SHARED_LIBS=ON
    -D WARPLOOM_BUILD_TESTS=OFF -D WARPLOOM_BUILD_TOOLS=OFF)
  run(${CMAKE_COMMAND} --build ${build})
endif()

file(REMOVE_RECURSE ${work}/prefix ${work}/consumer)
run(${CMAKE_COMMAND} --install ${build} --prefix ${work}/prefix)

# Headers, the library and its package, and where they are built the programs; no test, example or emulator.
file(GLOB_RECURSE installed RELATIVE ${work}/prefix ${work}/prefix/*)
foreach(file IN LISTS installed)
  if(NOT file MATCHES "^bin/warploom(-bench|-check-sampler)?$|^include/warploom/.+\\.h$|/libwarploom(_cuda|_cuda_backend)?\\.(a|so.*)$|/cmake/warploom/warploom.*\\.cmake$")
    message(FATAL_ERROR "${file} does not belong into the package")
  endif()
endforeach()

if(kind STREQUAL "Shared")
  file(GLOB_RECURSE library ${work}/prefix/libwarploom.so)
  run(nm -DC --defined-only ${library})
  if(NOT output MATCHES "warploom::Generator::generate")
    message(FATAL_ERROR "${library} does not export warploom::Generator::generate:\n${output}")
  endif()
  foreach(internal "warploom::Backend::" "warploom::Gguf" "warploom::InputBuffers" "warploom::create_cpu_backend")
    if(output MATCHES "${internal}")
      message(FATAL_ERROR "${library} exports ${internal}, which is none of the public headers'")
    endif()
  endforeach()
endif()

# The CUDA module finds everything that it needs, in the library or in itself.
file(GLOB_RECURSE modules ${work}/prefix/libwarploom_cuda_backend.so)
foreach(module IN LISTS modules)
  run(ldd -r ${module})
  if(output MATCHES "undefined symbol")
    message(FATAL_ERROR "${module} lacks symbols:\n${output}")
  endif()
endforeach()

# The package with its component for GPUs, where that was built.
file(GLOB with_cuda ${work}/prefix/lib*/cmake/warploom/warploomCudaTargets.cmake ${work}/prefix/lib/*/cmake/warploom/warploomCudaTargets.cmake)
if(cuda AND NOT with_cuda)
  message(FATAL_ERROR "warploom::cuda was built, but not installed")
endif()
run(${CMAKE_COMMAND} -S ${source}/tests/install/consumer -B ${work}/consumer ${toolchain}
  -D CMAKE_PREFIX_PATH=${work}/prefix -D CUDAToolkit_ROOT=${cuda})
run(${CMAKE_COMMAND} --build ${work}/consumer)
run(${work}/consumer/consumer)
message(STATUS "${kind}: ${output}")
run(${work}/consumer/serving ${source}/models/SmolLM2-135M-Instruct.Q4_1.gguf 3)
message(STATUS "${kind}: ${output}")
