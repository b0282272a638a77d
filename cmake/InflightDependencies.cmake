# SPDX-License-Identifier: Apache-2.0
# Finds every library that the project builds on. `./dev setup` installs them; dependencies.txt pins them.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libavutil libswscale libavdevice)

# OpenVINO comes as a wheel; its virtual environment lies under the build folder.
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

if(INFLIGHT_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(INFLIGHT_BUILD_BENCH)
  find_package(benchmark REQUIRED)
endif()
