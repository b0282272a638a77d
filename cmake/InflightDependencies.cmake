# SPDX-License-Identifier: Apache-2.0
# Finds every library that the project builds on. `./dev setup` installs them; dependencies.txt pins them.
find_package(Threads REQUIRED)
find_package(fmt QUIET)
find_package(nlohmann_json QUIET)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(FFMPEG IMPORTED_TARGET libavformat libavcodec libavutil libswscale libavdevice)
  pkg_check_modules(TIFF IMPORTED_TARGET libtiff-4)
endif()
if(NOT fmt_FOUND OR NOT FFMPEG_FOUND OR NOT TIFF_FOUND OR NOT nlohmann_json_FOUND)
  message(FATAL_ERROR "The headers of FFmpeg, libtiff, fmt or nlohmann-json are missing. Debian has them in libavformat-dev libavcodec-dev "
    "libavutil-dev libswscale-dev libavdevice-dev libtiff-dev libfmt-dev nlohmann-json3-dev pkg-config; ./dev setup installs all that is needed")
endif()
if(INFLIGHT_BUILD_PROGRAM)
  find_package(CLI11 REQUIRED)
  pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
endif()

# OpenVINO comes as a wheel: that of the interpreter that `pip install .` builds for, or that of build/venv.
if(INFLIGHT_BUILD_PYTHON)
  if(NOT SKBUILD AND NOT Python_EXECUTABLE AND EXISTS "${PROJECT_SOURCE_DIR}/build/venv/bin/python")
    set(Python_EXECUTABLE "${PROJECT_SOURCE_DIR}/build/venv/bin/python" CACHE FILEPATH "The interpreter to build the package for")
  endif()
endif()
if(NOT OpenVINO_DIR AND SKBUILD)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])"
    OUTPUT_VARIABLE openvino_package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(openvino_package)
    set(OpenVINO_DIR "${openvino_package}/cmake" CACHE PATH "The folder of OpenVINOConfig.cmake")
  endif()
endif()
if(NOT OpenVINO_DIR)
  file(GLOB openvino_dirs "${PROJECT_SOURCE_DIR}/build/venv/lib/python3*/site-packages/openvino/cmake")
  if(NOT openvino_dirs)
    message(FATAL_ERROR "OpenVINO is not installed: run ./dev setup, or set OpenVINO_DIR")
  endif()
  list(GET openvino_dirs 0 OpenVINO_DIR)
  set(OpenVINO_DIR "${OpenVINO_DIR}" CACHE PATH "The folder of OpenVINOConfig.cmake")
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/dependencies.txt")
file(STRINGS "${PROJECT_SOURCE_DIR}/dependencies.txt" openvino_pin REGEX "^pypi openvino ")
string(REGEX REPLACE "^pypi openvino +" "" openvino_version "${openvino_pin}")
find_package(OpenVINO ${openvino_version} EXACT REQUIRED COMPONENTS Runtime)
# The TBB that OpenVINO brings along. Not as TBB::tbb, which is Debian's in bench/engine.
get_target_property(openvino_library openvino::runtime IMPORTED_LOCATION_RELEASE)
get_filename_component(openvino_folder "${openvino_library}" DIRECTORY)
add_library(inflight_openvino_tbb SHARED IMPORTED GLOBAL)
set_target_properties(inflight_openvino_tbb PROPERTIES
  IMPORTED_LOCATION "${openvino_folder}/libtbb.so.12"
  INTERFACE_INCLUDE_DIRECTORIES "$<TARGET_PROPERTY:openvino::runtime,INTERFACE_INCLUDE_DIRECTORIES>")

if(INFLIGHT_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(INFLIGHT_BUILD_BENCH)
  find_package(benchmark REQUIRED)
endif()
