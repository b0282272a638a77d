# SPDX-License-Identifier: Apache-2.0
# Installs into an empty prefix, builds the consumer with nothing but CMAKE_PREFIX_PATH set, and runs it.
cmake_minimum_required(VERSION 3.25)
set(prefix "${SCRATCH}/prefix")
file(REMOVE_RECURSE "${SCRATCH}")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGV}: ${result}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}")

# What was installed must need nothing of the tree it came from.
set(installed "${prefix}/${LIBDIR}/libinflight.so" "${prefix}/${LIBDIR}/inflight/libinflight_backend_null.so")
if(EXISTS "${prefix}/bin/inflight")
  list(APPEND installed "${prefix}/bin/inflight")
endif()
foreach(file ${installed})
  run(ldd "${file}")
  string(REPLACE "${SCRATCH}" "<scratch>" output "${output}")
  string(FIND "${output}" "${SOURCE}" position)
  if(NOT position EQUAL -1 OR output MATCHES "not found")
    message(FATAL_ERROR "${file} needs what was not installed:\n${output}")
  endif()
endforeach()

run(${CMAKE_COMMAND} -G Ninja -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${SCRATCH}/consumer"
  "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}")
run(${CMAKE_COMMAND} --build "${SCRATCH}/consumer")
run("${SCRATCH}/consumer/consumer" "${SOURCE}/models/shapes.onnx")
message(STATUS "${output}")
