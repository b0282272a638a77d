# SPDX-License-Identifier: Apache-2.0
# The installed package: one shared library made of every folder of src/ that is part of the library, the public
# headers, the program, and the OpenVINO runtime they need. `find_package(inflight)` gives inflight::inflight.
include(CMakePackageConfigHelpers)

get_property(parts GLOBAL PROPERTY INFLIGHT_LIBRARIES)
# From the objects, not the archives: nothing in the library itself calls what its users will call. The archives
# come along for the libraries that they need; no member of them is left to be taken.
list(TRANSFORM parts REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(inflight_shared SHARED ${objects})
target_link_libraries(inflight_shared PRIVATE inflight_flags ${parts})
set_target_properties(inflight_shared PROPERTIES
  OUTPUT_NAME inflight EXPORT_NAME inflight
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINKER_LANGUAGE CXX
  INSTALL_RPATH "$<IF:$<BOOL:${SKBUILD}>,$ORIGIN/../openvino/libs,$ORIGIN/inflight>")
target_compile_features(inflight_shared INTERFACE cxx_std_20)
target_link_libraries(inflight_shared INTERFACE Threads::Threads)
target_include_directories(inflight_shared INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
# Its own calls of its own functions need no detour for somebody who might replace them.
target_link_options(inflight_shared PRIVATE -Wl,-Bsymbolic-functions)

# In a wheel of Python: python/CMakeLists.txt.
if(SKBUILD)
  return()
endif()

install(TARGETS inflight_shared EXPORT inflightTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/inflight DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET inflight)
  set_target_properties(inflight PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS inflight)
endif()

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/inflight)
install(EXPORT inflightTargets NAMESPACE inflight:: DESTINATION ${config_folder})
configure_package_config_file(cmake/inflightConfig.cmake.in inflightConfig.cmake INSTALL_DESTINATION ${config_folder})
# Before 1.0 every minor version may change the interface.
write_basic_package_version_file(inflightConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/inflightConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/inflightConfigVersion.cmake"
  DESTINATION ${config_folder})

# OpenVINO finds its plugins and readers beside its own library, so all of them go into one folder. Left out:
# what this project never loads (other devices, PyTorch, JAX and GGUF readers), two thirds of the wheel.
file(GLOB openvino_files
  "${openvino_folder}/libopenvino.so.*" "${openvino_folder}/libopenvino_*_cpu_plugin.so"
  "${openvino_folder}/libtbb.so.*" "${openvino_folder}/libtbbbind*.so.*" "${openvino_folder}/libtbbmalloc.so.*"
  "${openvino_folder}/libhwloc.so.*")
foreach(reader ir onnx tensorflow tensorflow_lite paddle)
  file(GLOB reader_files "${openvino_folder}/libopenvino_${reader}_frontend.so.*")
  list(APPEND openvino_files ${reader_files})
endforeach()
install(FILES ${openvino_files} DESTINATION ${CMAKE_INSTALL_LIBDIR}/inflight)
# Its licences travel with it.
file(GLOB openvino_licenses "${openvino_folder}/../../openvino-*.dist-info/licenses")
install(DIRECTORY ${openvino_licenses}/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/openvino)
