# Registers, spills, stacks and occupancy of the compiled kernels, within kernel_limits.json on every architecture; and a kernel
# that spills, which the check must refuse.
find_program(WARPLOOM_CUXRAY cuxray PATHS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
if(NOT WARPLOOM_CUXRAY)
  message(STATUS "tests/cuda: registers and spills go unchecked, .venv has no cuxray (scripts/test installs it)")
  return()
endif()
set(check ${PROJECT_SOURCE_DIR}/scripts/check-kernels)
foreach(object ${WARPLOOM_CUDA_OBJECTS})
  get_filename_component(name ${object} NAME)
  add_test(NAME Kernels.KeepTheirLimits/${name} COMMAND ${check} ${object})
  set_tests_properties(Kernels.KeepTheirLimits/${name} PROPERTIES TIMEOUT 900)
endforeach()

set(planted ${CMAKE_CURRENT_BINARY_DIR}/planted_spill.cubin)
add_custom_command(OUTPUT ${planted}
  COMMAND ${WARPLOOM_NVCC} -arch=sm_90 -maxrregcount=32 -cubin -ccbin ${CMAKE_CXX_COMPILER}
          ${CMAKE_CURRENT_SOURCE_DIR}/planted_spill.cu -o ${planted}
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/planted_spill.cu VERBATIM)
add_custom_target(planted_spill ALL DEPENDS ${planted})
add_test(NAME Kernels.ASpillIsFound COMMAND ${check} ${planted})
set_tests_properties(Kernels.ASpillIsFound PROPERTIES PASS_REGULAR_EXPRESSION "spills [^\n]*spill_instrs=[0-9]+ violates")
