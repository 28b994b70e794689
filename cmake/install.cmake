# The package that find_package(warploom) finds: headers, the library, one target warploom::warploom.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/warploom)

install(TARGETS warploom EXPORT warploomTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/warploom DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "cuda" EXCLUDE)
# find_package(warploom COMPONENTS cuda) also finds warploom::cuda, where it was built.
if(TARGET warploom_cuda)
  set_target_properties(warploom_cuda PROPERTIES EXPORT_NAME cuda)
  install(TARGETS warploom_cuda EXPORT warploomCudaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY include/warploom/cuda DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/warploom FILES_MATCHING PATTERN "*.h")
  install(EXPORT warploomCudaTargets NAMESPACE warploom:: DESTINATION ${package_dir})
endif()
# The backend that runs models on a GPU, found there by programs in the folder of programs and by the shared library.
if(TARGET warploom_cuda_backend)
  install(TARGETS warploom_cuda_backend LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
foreach(program warploom_main warploom_bench warploom_check_sampler)
  if(WARPLOOM_BUILD_TOOLS AND TARGET ${program})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
install(EXPORT warploomTargets NAMESPACE warploom:: DESTINATION ${package_dir})

configure_package_config_file(cmake/warploomConfig.cmake.in ${PROJECT_BINARY_DIR}/warploomConfig.cmake
  INSTALL_DESTINATION ${package_dir})
# Before 1.0 a new minor version may break callers.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/warploomConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/warploomConfig.cmake ${PROJECT_BINARY_DIR}/warploomConfigVersion.cmake
  DESTINATION ${package_dir})
