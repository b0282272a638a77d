// SPDX-License-Identifier: Apache-2.0
// MXNet's programming model on this library's engine: arrays, symbols, executors.
#pragma once

#include "inflight/mx/executor.h"
#include "inflight/mx/ndarray.h"
#include "inflight/mx/operator.h"
#include "inflight/mx/params.h"
#include "inflight/mx/symbol.h"
