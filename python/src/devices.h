// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include "inflight/tensor.h"

namespace inflight::python {

// From an inflight.Device or its text.
//   errors   InvalidTypeError, InvalidArgumentError
Device device_from(nanobind::handle value);

}  // namespace inflight::python
