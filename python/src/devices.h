// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "inflight/tensor.h"

namespace inflight::python {

// From an inflight.Device or its text, a text with several, as in "cuda:0,cuda:1", or a sequence of devices.
//   errors   InvalidTypeError, InvalidArgumentError
std::vector<Device> devices_from(nanobind::handle value);

}  // namespace inflight::python
