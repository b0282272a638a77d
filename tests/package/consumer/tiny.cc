// SPDX-License-Identifier: Apache-2.0
// A plugin outside the tree: the device "tiny" is the null device by another name.
#include <inflight/plugin.h>

namespace {

inflight::Result<std::shared_ptr<inflight::Backend>> make_tiny(inflight::Device) {
  return inflight::load_backend(inflight::Device::null());
}

}  // namespace

INFLIGHT_BACKEND_PLUGIN("tiny", make_tiny)
