# SPDX-License-Identifier: Apache-2.0
# How every target of the project is made.
#
# Each folder of src/ is a static library, so that the linker holds the table of who may include whom, and unit tests
# link what they need and no more. The one shared library, inflight_shared, is made of the same objects. A program links
# either: the folders (tests of internals, benchmarks), or the shared library (what is installed, examples, plugins and
# their tests). Both in one process would be two of everything.
include(GNUInstallDirs)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(inflight_flags INTERFACE)
target_compile_options(inflight_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual)
if(INFLIGHT_SANITIZE)
  target_compile_options(inflight_flags INTERFACE
    -fsanitize=${INFLIGHT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(inflight_flags INTERFACE -fsanitize=${INFLIGHT_SANITIZE})
  if(INFLIGHT_SANITIZE MATCHES "undefined")
    # vptr wants type information of classes that other libraries keep to themselves, and is slow to compile.
    target_compile_options(inflight_flags INTERFACE -fno-sanitize=vptr)
  endif()
  if(INFLIGHT_SANITIZE MATCHES "thread")
    # libstdc++'s fences are rare; what is left of them is checked by hand.
    target_compile_options(inflight_flags INTERFACE -Wno-tsan)
  endif()
endif()

# inflight_library(NAME SOURCES file... [DEPS target...] [PRIVATE_DEPS target...]): one folder of src/.
function(inflight_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE inflight_flags ${ARG_PRIVATE_DEPS})
  # The folders of the program and of plugins are not part of the shared library.
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}/src" "${CMAKE_CURRENT_SOURCE_DIR}")
  if(NOT folder MATCHES "^(media|vision|load|cli|backends/null|backends/cuda)(/|$)")
    set_property(GLOBAL APPEND PROPERTY INFLIGHT_LIBRARIES ${name})
  endif()
endfunction()

# inflight_plugin(KIND SOURCES file...): a backend in a shared library of its own (include/inflight/plugin.h). Lies where
# load_backend() looks, and goes into the installed package. Links the shared library and no folder of src/.
function(inflight_plugin kind)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  add_library(inflight_plugin_${kind} MODULE ${ARG_SOURCES})
  target_include_directories(inflight_plugin_${kind} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(inflight_plugin_${kind} PRIVATE inflight_flags inflight_shared)
  set_target_properties(inflight_plugin_${kind} PROPERTIES
    OUTPUT_NAME inflight_backend_${kind}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/inflight
    INSTALL_RPATH "$<IF:$<BOOL:${SKBUILD}>,$ORIGIN,$ORIGIN/..>")
  if(NOT SKBUILD)
    install(TARGETS inflight_plugin_${kind} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/inflight)
  endif()
endfunction()

# What runs under ThreadSanitizer, so that `./dev test-all` builds no more than that with it.
add_custom_target(concurrent_tests)

# inflight_test(NAME SOURCES file... DEPS target... [LABELS label...] [COST seconds]): one GoogleTest program, run by ctest.
# Its main() is that of tests/support/watchdog.cc, which fails a test that hangs and prints the stacks of all threads.
# A cost lets a long one start among the first where ctest has not seen it yet, so that no processor waits for it at the end.
# Label "concurrent" puts it among those that also run under ThreadSanitizer.
function(inflight_test name)
  if(NOT INFLIGHT_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "COST" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE inflight_flags ${ARG_DEPS} inflight_test_main)
  if(INFLIGHT_SANITIZE MATCHES "undefined")
    # UBSan looks at the code under test alone: with it, a test's own file takes 1.4 times as long to compile.
    set(tests ${ARG_SOURCES})
    list(FILTER tests INCLUDE REGEX "_test\\.cc$")
    set_property(SOURCE ${tests} APPEND PROPERTY COMPILE_OPTIONS -fno-sanitize=undefined)
  endif()
  # The watchdog names functions by the dynamic symbols.
  target_link_options(${name} PRIVATE -rdynamic)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
  if(ARG_COST)
    set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
  endif()
  if("concurrent" IN_LIST ARG_LABELS)
    add_dependencies(concurrent_tests ${name})
  endif()
endfunction()
