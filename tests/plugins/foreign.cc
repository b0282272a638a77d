// SPDX-License-Identifier: Apache-2.0
// A plugin with FOREIGN_VERSION, FOREIGN_ABI and FOREIGN_KIND in its PluginInfo. Its factory must never be
// called.
#include <cstdlib>

#include "inflight/plugin.h"

namespace {

inflight::Result<std::shared_ptr<inflight::Backend>> make(inflight::Device) { std::abort(); }

}  // namespace

extern "C" const inflight::PluginInfo* inflight_backend_plugin() {
  static constexpr inflight::PluginInfo info{FOREIGN_VERSION, FOREIGN_ABI, FOREIGN_KIND, make};
  return &info;
}
