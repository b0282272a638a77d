// SPDX-License-Identifier: Apache-2.0
// A backend in a shared library of its own, libinflight_backend_KIND.so, for the devices "KIND", "KIND:1" and
// so on. load_backend() finds it by that name. The whole of a plugin, beside the backend itself (backend.h):
//
//   inflight::Result<std::shared_ptr<inflight::Backend>> make_npu(inflight::Device device);
//   INFLIGHT_BACKEND_PLUGIN("npu", make_npu)
//
// and in CMake, where the file name makes the kind:
//
//   add_library(inflight_backend_npu MODULE npu.cc)
//   target_link_libraries(inflight_backend_npu PRIVATE inflight::inflight)
//
// A plugin and the program share one libinflight, which the program must link as the shared library.
#pragma once

#include <cstdint>
#include <memory>

#include "inflight/backend.h"
#include "inflight/status.h"
#include "inflight/tensor.h"
#include "inflight/version.h"

namespace inflight {

// Makes the backend of one device of the plugin's kind. What it throws becomes the status of load_backend().
//   thread   any, several at once
//   errors   kNoSuchDevice: the kind is there, this index is not
using BackendFactory = Result<std::shared_ptr<Backend>> (*)(Device device);

// Says which operators of a model the plugin's devices can compute, without such a device; of all that it knows if the
// model is null. As operator_coverage().
//   thread   any, several at once
using CoverageFunction = Result<Coverage> (*)(const Model* model);

// Opens the memory of one device of the plugin's kind, for load_memory().
//   thread   any, several at once
//   errors   as BackendFactory
using MemoryFunction = Result<std::shared_ptr<DeviceMemory>> (*)(Device device);

// How many devices of the plugin's kind there are, at least 1.
//   thread   any, several at once
//   errors   kNoSuchDevice: why there are none
using CountFunction = Result<int> (*)();

// What a plugin says of itself. load_backend() reads the members in this order, and stops at the first one
// that differs from its own. They are constants: no other code of the plugin has run by then.
struct PluginInfo {
  const char* version;                  // of the headers that the plugin was compiled with, such as "0.1.0"
  const char* abi;                      // INFLIGHT_PLUGIN_ABI of its compiler and standard library
  const char* kind;                     // of its devices: "npu"
  BackendFactory factory;               // never null
  CoverageFunction coverage = nullptr;  // null: it does not say
  MemoryFunction memory = nullptr;      // null: its devices have no memory of their own for arrays
  CountFunction count = nullptr;        // null: it does not say
};

}  // namespace inflight

// What must be the same on both sides, so that std::string and std::function are the same types.
#if defined(_LIBCPP_VERSION)
#define INFLIGHT_PLUGIN_ABI_LIBRARY_ "libc++ " INFLIGHT_TEXT_(_LIBCPP_ABI_VERSION)
#else
#define INFLIGHT_PLUGIN_ABI_LIBRARY_ "libstdc++ " INFLIGHT_TEXT_(_GLIBCXX_USE_CXX11_ABI)
#endif
#define INFLIGHT_PLUGIN_ABI \
  INFLIGHT_PLUGIN_ABI_LIBRARY_ ", pointers of " INFLIGHT_TEXT_(__SIZEOF_POINTER__) " bytes"
#define INFLIGHT_TEXT_(macro) INFLIGHT_TEXT_IMPL_(macro)
#define INFLIGHT_TEXT_IMPL_(text) #text

// Makes a shared library a plugin: once in it, at namespace scope.
//   kind      a string literal, the KIND of the file's name
//   factory   a BackendFactory
//   ...       nothing, or the CoverageFunction, MemoryFunction and CountFunction, in this order
#define INFLIGHT_BACKEND_PLUGIN(kind, ...)                                                                  \
  extern "C" __attribute__((visibility("default"))) const ::inflight::PluginInfo*                           \
  inflight_backend_plugin() noexcept {                                                                      \
    static constexpr ::inflight::PluginInfo info{INFLIGHT_VERSION, INFLIGHT_PLUGIN_ABI, kind, __VA_ARGS__}; \
    return &info;                                                                                           \
  }
