# Registers, spills, stacks, occupancy, bank conflicts and atomics of the compiled kernels, within kernel_limits.json on every
# architecture; and kernels with a spill, a conflict, a loop of compare-and-swap and branches between products, which the check must refuse.
find_program(WARPLOOM_CUXRAY cuxray PATHS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
if(NOT WARPLOOM_CUXRAY)
  message(STATUS "tests/cuda: registers and spills go unchecked, .venv has no cuxray (scripts/test installs it)")
  return()
endif()
set(check ${PROJECT_SOURCE_DIR}/scripts/check-kernels)
# What each object must hold code for. WARPLOOM_CUDA_CODE does not tell: a build folder keeps the one that it began with.
if(NOT WARPLOOM_CHECKED_ARCHITECTURES)
  set(WARPLOOM_CHECKED_ARCHITECTURES sm_80,sm_90,sm_100,sm_120)
endif()
foreach(object ${WARPLOOM_CUDA_OBJECTS})
  get_filename_component(name ${object} NAME)
  add_test(NAME Kernels.KeepTheirLimits/${name} COMMAND ${check} --arch ${WARPLOOM_CHECKED_ARCHITECTURES} ${object})
  set_tests_properties(Kernels.KeepTheirLimits/${name} PROPERTIES TIMEOUT 900)
endforeach()

set(planted ${CMAKE_CURRENT_BINARY_DIR}/planted_defects.cubin)
add_custom_command(OUTPUT ${planted}
  COMMAND ${WARPLOOM_NVCC} -arch=sm_90 -maxrregcount=32 -cubin -ccbin ${CMAKE_CXX_COMPILER}
          ${CMAKE_CURRENT_SOURCE_DIR}/planted_defects.cu -o ${planted}
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/planted_defects.cu VERBATIM)
add_custom_target(planted_defects ALL DEPENDS ${planted})
foreach(defect "ASpillIsFound;spills [^\n]*spill_instrs=[0-9]+ violates" "ABankConflictIsFound;conflicts [^\n]*bank_ways=32 violates"
        "ASwapLoopIsFound;sm_90 swaps: 1 compare-and-swap loops" "BranchesAreFound;sm_90 branches: [^\n]* violates at most 4")
  list(GET defect 0 name)
  list(GET defect 1 message)
  add_test(NAME Kernels.${name} COMMAND ${check} --arch sm_90 ${planted})
  set_tests_properties(Kernels.${name} PROPERTIES PASS_REGULAR_EXPRESSION ${message})
endforeach()
add_test(NAME Kernels.AMissingArchitectureIsFound COMMAND ${check} ${planted})
set_tests_properties(Kernels.AMissingArchitectureIsFound PROPERTIES PASS_REGULAR_EXPRESSION
  "planted_defects.cubin: no code for sm_80\n[^\n]*no code for sm_100\n[^\n]*no code for sm_120\n")
